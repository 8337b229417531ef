"""Groups and ensembles as elements of the contract: their members, their census, and what became of a fan-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.api import node_name
from flyinglow.group.service import state_of
from flyinglow.workspace.makers import FL, MAKERS, optional
from flyinglow.workspace.model import Kind
from flyinglow.workspace.properties_xml import networking
from flyinglow.wsrf.faults import Scene, member_fault
from flyinglow.wsrf.xml import qname

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.group.fold import Folded
    from flyinglow.group.members import MemberResult, Whole
    from flyinglow.workspace.model import Workspace
    from flyinglow.wsrf.addresses import Addresses


def member(row: Workspace, addresses: Addresses, *, show_node: bool) -> _Element:
    """Return ``fl:Member``: one workspace of a group or ensemble."""
    return FL.Member(
        FL.Name(row.name),
        addresses.epr(Kind.WORKSPACE, row.id),
        FL.State(row.state),
        *optional("Task", row.task),
        *optional("Reason", row.reason),
        *optional("Node", node_name(row.node or "") if show_node else None),
        networking(row.nics),
    )


def census(folded: Folded) -> _Element:
    """Return ``fl:Census``: how many members there are in each state."""
    return FL.Census(
        FL.Total(str(folded.total)),
        *(FL.Count(str(count), state=state) for state, count in folded.counts.items()),
    )


def results(prefix: str, name: str, rows: Iterable[MemberResult], addresses: Addresses, at: datetime) -> _Element:
    """Return the answer to a fan-out: one Result a member, with a Fault where the member was refused."""
    answer = MAKERS[prefix](name)
    for row in rows:
        element = FL.Result(FL.Name(row.workspace.name), addresses.epr(Kind.WORKSPACE, row.workspace.id))
        if row.error is not None:
            scene = Scene(at=at, originator=addresses.resource(Kind.WORKSPACE, row.workspace.id))
            element.append(member_fault(qname("fl", "Fault"), row.error, scene))
        answer.append(element)
    return answer


def report(prefix: str, whole: Whole, addresses: Addresses, *, show_node: bool) -> _Element:
    """Return the answer to Report: the whole's folded state, and every member that is left."""
    folded = state_of(whole)
    opened = "true" if whole.row.open else "false"
    return MAKERS[prefix].ReportResponse(
        FL.Name(whole.row.name),
        FL.State(folded.state),
        *optional("Task", folded.task),
        *optional("Reason", folded.reason),
        *([FL.Open(opened)] if whole.row.key.kind is Kind.ENSEMBLE else []),
        census(folded),
        *(member(row, addresses, show_node=show_node) for row in whole.members),
    )

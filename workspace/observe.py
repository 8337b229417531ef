"""What nodes show of themselves: news, sent unasked, and the lists of a reconcile pass, compared with the rows.

``finding`` is pure: it says what a sight of a VM means for a row. Silence means nothing: a node that did not answer
declares nobody dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from flyinglow.backend.api import Observation, node_name
from flyinglow.nodectl.messages import VmInfo, VmStatus
from flyinglow.workspace import barrier
from flyinglow.workspace.lifecycle import advance, ready, reclaim, under_way
from flyinglow.workspace.model import Stamp, Workspace
from flyinglow.workspace.operation import SEEN
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, State, Status, Task, may_follow
from flyinglow.workspace.steps import TOGETHER, Step, step_of


class Change(StrEnum):
    """What a row is to become."""

    GONE = "gone"  # its VM is not there: Corrupted
    TAKEN = "taken"  # its claim or its place was lost: Cancelled
    BROKEN = "broken"  # its VM broke: Corrupted
    MOVED = "moved"  # its VM is in another state than the row
    READY = "ready"  # its guest says that it is ready
    PROGRESS = "progress"  # how far a transfer for it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to write down about one workspace, as long as its row is still of this version (None: of any)."""

    workspace_id: str
    change: Change
    reason: str = ""
    info: VmInfo | None = None
    version: int | None = None


VIA: Mapping[tuple[State, State], Task] = {
    (State.PROPAGATED, State.RUNNING): Task.STARTING,
    (State.PROPAGATED, State.PAUSED): Task.STARTING,
    (State.RUNNING, State.PAUSED): Task.PAUSING,
    (State.PAUSED, State.RUNNING): Task.RESUMING,
    (State.PAUSED, State.PROPAGATED): Task.SHUTTING_DOWN,
}
"""By which task a row is led to the state its VM was found in, where it may not step there directly."""


TRANSFERS = frozenset({Task.PROPAGATING, Task.SAVING})
"""Tasks whose reason tells how far they are."""


def sighting(row: Workspace, info: VmInfo) -> Finding | None:
    """Say what a sight of its VM means for a row; None when it is as it should be, or a task's own answer decides."""
    if row.state in FINAL or row.task is Task.RECLAIMING:
        return None
    if info.progress:  # which says nothing else of the VM
        under_way = row.task in TRANSFERS and row.reason != info.progress
        return Finding(workspace_id=row.id, change=Change.PROGRESS, info=info) if under_way else None
    awaited = step_of(row) is Step.AWAIT
    if (row.task is None or awaited) and info.status is VmStatus.BROKEN:
        reason = info.reason or "its VM broke on its node"
        return Finding(workspace_id=row.id, change=Change.BROKEN, reason=reason, info=info)
    if awaited and SEEN[info.status] is State.PROPAGATED:
        reason = info.reason or f"its VM was found {info.status.value} on its node"
        return Finding(workspace_id=row.id, change=Change.BROKEN, reason=reason, info=info)
    saved = row.state is State.TRANSPORT_READY and SEEN[info.status] is State.PROPAGATED
    if row.task is None and SEEN[info.status] is not row.state and not saved:
        reason = info.reason or f"its VM was found {info.status.value} on its node"
        return Finding(workspace_id=row.id, change=Change.MOVED, reason=reason, info=info)
    if info.ready and Stamp.READY not in row.stamps:
        return Finding(workspace_id=row.id, change=Change.READY, info=info)
    return None


def finding(row: Workspace, seen: Observation, vms: Mapping[tuple[str, str], VmInfo]) -> Finding | None:
    """Say what a reconcile pass means for a row that was read before it; None when there is nothing to write down.

    ``vms`` are the pass's VMs by node and tag (see ``by_tag``).
    """
    lost = seen.lost.get(row.launch_set) or (seen.lost_places.get(row.node) if row.node else None)
    if lost is not None and row.task is not Task.RECLAIMING:
        return Finding(workspace_id=row.id, change=Change.TAKEN, reason=lost, version=row.version)
    busy = row.task is not None and step_of(row) is not Step.AWAIT
    if busy or row.node is None or row.node not in seen.vms:
        return None
    info = vms.get((row.node, row.tag))
    if info is None:
        reason = f"its VM is gone from node {node_name(row.node)}"
        return Finding(workspace_id=row.id, change=Change.GONE, reason=reason, version=row.version)
    found = sighting(row, info)
    return replace(found, version=row.version) if found else None


def shared(rows: Iterable[Workspace], seen: Observation) -> Observation:
    """Return what was seen, with every launch set that loses a place while it is launched lost as a whole."""
    lost = {
        row.launch_set: seen.lost_places[row.node]
        for row in rows
        if row.node in seen.lost_places and row.node is not None and step_of(row) in TOGETHER
    }
    return replace(seen, lost={**lost, **seen.lost}) if lost else seen


def by_tag(seen: Observation) -> dict[tuple[str, str], VmInfo]:
    """Return the VMs of a pass by node and tag."""
    return {(node, info.tag): info for node, infos in seen.vms.items() for info in infos}


def write_down(tx: Tx, found: Finding, now: datetime, *, tell: bool = False) -> None:
    """Write one finding down; a row that changed meanwhile is left alone. ``tell``: of progress, too."""
    row = tx.workspaces.get(found.workspace_id)
    if row is None or row.state in FINAL or found.version not in {None, row.version}:
        return
    match found.change:
        case Change.GONE | Change.BROKEN if step_of(row) is Step.AWAIT:
            barrier.fail(tx, row.launch_set, now=now, reason=f"member {row.name}: {found.reason}")
        case Change.GONE | Change.BROKEN:
            reclaim(tx, row, State.CORRUPTED, now=now, reason=found.reason)
        case Change.TAKEN:
            reclaim(tx, row, State.CANCELLED, now=now, reason=found.reason)
        case Change.READY:
            ready(tx, row, now=now)
        case Change.PROGRESS if found.info is not None and row.task in TRANSFERS:
            under_way(tx, row, found.info.progress, now=now, tell=tell)
        case Change.MOVED if found.info is not None and row.task is None:
            _move(tx, row, SEEN[found.info.status], found.reason, now)
        case _:
            return


def _move(tx: Tx, row: Workspace, state: State, reason: str, now: datetime) -> None:
    if state is row.state:
        return
    if not may_follow(row.status, Status(state)):
        via = Status(row.state, VIA[row.state, state])
        row = advance(tx, row, via, now=now, reason=reason, target=state)
    advance(tx, row, Status(state), now=now, reason=reason)

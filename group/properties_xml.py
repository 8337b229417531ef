"""The resource properties of a group, and what an ensemble's have in common with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.group.entries_xml import ENTRIES, RULE, entries, rule
from flyinglow.group.members_xml import census, member
from flyinglow.group.service import state_of
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.changes_xml import END_ACTION, MUTABLE, SAVE_TO, wish
from flyinglow.workspace.makers import FL, optional
from flyinglow.workspace.model import Allocation, EndAction
from flyinglow.workspace.producer_xml import COMMON, WHOLE_PRODUCER, lifetime
from flyinglow.workspace.properties_xml import allocation, schedule, wait_of
from flyinglow.wsrf.xml import clean_text, qname

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.group.members import Whole
    from flyinglow.group.service import CollectionService
    from flyinglow.workspace.changes import Changes
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "GroupProperties")
NAMES: Final = tuple(
    qname("fl", name)
    for name in (
        "Name",
        "Owner",
        "State",
        "Task",
        "Reason",
        "Schedule",
        "ResourceAllocation",
        "Census",
        "Members",
        "EndAction",
        "SaveTo",
    )
)
SERVICE_GROUP: Final = (RULE, ENTRIES)
"""The properties of a service group."""


class CollectionDirectory:
    """The groups, or the ensembles, behind an endpoint; ``names`` are the properties of that kind, in order."""

    names: tuple[QName, ...] = NAMES

    def __init__(
        self, service: CollectionService, addresses: Addresses, now: Now, changes: Changes | None = None
    ) -> None:
        self._service = service
        self._addresses = addresses
        self._now = now
        self._changes = changes

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return (*self.names, *SERVICE_GROUP, *COMMON)

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        whole = self._service.get(caller, resource)
        made = {**self.render(whole), **lifetime(end_of(whole), self._now()), **WHOLE_PRODUCER}
        return {name: made[name]() for name in (self.property_names() if names is None else names) if name in made}

    def render(self, whole: Whole) -> dict[QName, Callable[[], list[_Element]]]:
        """Return what makes each of the kind's own properties."""
        folded = state_of(whole)
        return {
            qname("fl", "Name"): lambda: [FL.Name(whole.row.name)],
            qname("fl", "Owner"): lambda: [FL.Owner(clean_text(whole.row.owner))],
            qname("fl", "State"): lambda: [FL.State(folded.state)],
            qname("fl", "Task"): lambda: optional("Task", folded.task),
            qname("fl", "Reason"): lambda: optional("Reason", folded.reason),
            qname("fl", "Schedule"): lambda: [_schedule(whole)],
            qname("fl", "ResourceAllocation"): lambda: [allocation(_sum(row.allocation for row in whole.members))],
            qname("fl", "Census"): lambda: [census(folded)],
            qname("fl", "Members"): lambda: [self._members(whole)],
            END_ACTION: lambda: optional("EndAction", _end_action(whole).capitalize()),
            RULE: lambda: [rule()],
            ENTRIES: lambda: entries(whole, self._addresses),
            SAVE_TO: lambda: [FL.SaveTo(row.end_uri) for row in whole.members if row.end_uri],
        }

    def destroy(self, caller: Identity, resource: str) -> None:
        """Commit the intent to destroy it with all its members; raises UnknownError."""
        self._service.destroy(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Move the end of every member's lease, all or none; raises as ``CollectionService.set_end``."""
        return self._service.set_end(caller, resource, at)

    def mutable(self) -> Mapping[QName, tuple[int, int]]:
        """Return the properties that can be changed (wsrf.modification.Modifiable)."""
        return {} if self._changes is None else MUTABLE

    def change(self, caller: Identity, resource: str, wanted: Mapping[QName, tuple[str, ...]]) -> None:
        """Rename it, or change what becomes of all its disks at the end; raises as ``Changes.collection``."""
        if self._changes is None:
            raise InvalidError("nothing can be changed")
        whole = self._service.get(caller, resource)
        action = _end_action(whole)
        asked = wish(wanted, EndAction(action) if action else None, None)
        self._changes.collection(lambda tx: self._service.find_to_change(tx, caller, resource), asked)

    def _members(self, whole: Whole) -> _Element:
        show_node = self._service.terms.show_node
        return FL.Members(*(member(row, self._addresses, show_node=show_node) for row in whole.members))


class GroupDirectory(CollectionDirectory):
    """The groups behind the Group endpoint."""


def end_of(whole: Whole) -> datetime | None:
    """Return when the whole ends: an open ensemble when it may not stay open any longer, else with its last member."""
    if whole.row.open:
        return whole.row.ends_at
    return max((row.ends_at for row in whole.members if row.ends_at is not None), default=None)


def _end_action(whole: Whole) -> str:
    """Return what becomes of the members' disks at the end; empty where that differs."""
    found = {row.end_action for row in whole.members}
    return found.pop() if len(found) == 1 else ""


def _schedule(whole: Whole) -> _Element:
    """Return when the first member was accepted and has to start, when the whole ends, and the longest lease."""
    rows = whole.members
    return schedule(
        min((row.accepted_at for row in rows), default=whole.row.accepted_at),
        start_by=min((row.start_by for row in rows if row.start_by is not None), default=None),
        ends_at=end_of(whole),
        duration=max((row.duration for row in rows), default=0),
        wait=wait_of(rows),
        saves_at=min((row.saves_at for row in rows if row.saves_at is not None), default=None),
    )


def _sum(sizes: Iterable[Allocation]) -> Allocation:
    """Return what the members have together."""
    figures = [(size.memory_mb, size.cpus, size.disk_mb) for size in sizes]
    memory_mb, cpus, disk_mb = (sum(column) for column in zip(*figures, strict=True)) if figures else (0, 0, 0)
    return Allocation(memory_mb=memory_mb, cpus=cpus, disk_mb=disk_mb)

"""The resource properties of a workspace, as elements of the contract; only those that are asked for are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flyinglow.backend.api import node_name
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace import changes_xml
from flyinglow.workspace.context_xml import context_status
from flyinglow.workspace.disks_xml import disks, saved
from flyinglow.workspace.makers import FL, optional
from flyinglow.workspace.model import Stamp
from flyinglow.workspace.producer_xml import COMMON, PRODUCER, lifetime
from flyinglow.workspace.states import Task
from flyinglow.wsrf.xml import clean_text, duration_text, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.workspace.changes import Changes
    from flyinglow.workspace.model import Allocation, Nic, Workspace
    from flyinglow.workspace.ports import Now
    from flyinglow.workspace.service import WorkspaceService
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "WorkspaceProperties")
_NODE: Final = qname("fl", "Node")
_CONTEXT: Final = qname("fl", "ContextStatus")


class WorkspaceDirectory:
    """The workspaces behind the Workspace endpoint."""

    def __init__(self, service: WorkspaceService, now: Now, changes: Changes | None = None) -> None:
        self._service = service
        self._now = now
        self._changes = changes

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return (*_RENDER, _CONTEXT, *COMMON)

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        row = self._service.get(caller, resource)
        common = {**lifetime(row.ends_at, self._now()), **PRODUCER}
        found = {}
        for name in self.property_names() if names is None else names:
            if name in common:
                found[name] = common[name]()
            elif name == _NODE and not self._service.terms.show_node:
                found[name] = []
            elif name == _CONTEXT:
                found[name] = context_status(self._service.guest(caller, resource))
            elif name in _RENDER:
                found[name] = _RENDER[name](row)
        return found

    def destroy(self, caller: Identity, resource: str) -> None:
        """Commit the intent to destroy it; raises UnknownError."""
        self._service.destroy(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Move the end of its lease and return the time granted; raises as ``WorkspaceService.set_end``."""
        return self._service.set_end(caller, resource, at)

    def mutable(self) -> Mapping[QName, tuple[int, int]]:
        """Return the properties that can be changed (wsrf.modification.Modifiable)."""
        return {} if self._changes is None else changes_xml.MUTABLE

    def change(self, caller: Identity, resource: str, wanted: Mapping[QName, tuple[str, ...]]) -> None:
        """Rename it, or change what becomes of its disk at the end; raises as ``Changes.workspace``."""
        if self._changes is None:
            raise InvalidError("nothing can be changed")
        row = self._service.get(caller, resource)
        self._changes.workspace(caller, resource, changes_xml.wish(wanted, row.end_action, row.end_uri))


def networking(nics: Iterable[Nic]) -> _Element:
    """Return ``fl:Networking``: the addresses that were leased with the workspace."""
    return FL.Networking(*(_nic(nic) for nic in nics))


def _nic(nic: Nic) -> _Element:
    return FL.NIC(
        FL.Network(nic.network),
        *optional("Name", nic.name),
        *optional("IPAddress", nic.ip),
        *optional("PrefixLength", str(nic.prefix) if nic.ip else None),
        *optional("MACAddress", nic.mac),
        *optional("Hostname", nic.hostname),
        *optional("Gateway", nic.gateway),
        *(FL.DNS(address) for address in nic.dns),
        *optional("IPv6Address", nic.ip6),
        *optional("IPv6PrefixLength", str(nic.prefix6) if nic.ip6 else None),
        *optional("IPv6Gateway", nic.gateway6),
        *(FL.IPv6DNS(address) for address in nic.dns6),
        *optional("Delivery", nic.delivery if nic.delivery != "dhcp" else None),
        *(FL.Dropped(str(count), kind=kind) for kind, count in nic.dropped),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why a lease has not begun, and when it is expected to; nothing once it has."""

    starts_at: datetime | None = None
    reason: str | None = None


def wait_of(rows: Iterable[Workspace]) -> Wait:
    """Return what these wait for: the latest expected start, the first reason."""
    queued = [row for row in rows if row.task is Task.QUEUED]
    return Wait(
        starts_at=max((row.starts_at for row in queued if row.starts_at is not None), default=None),
        reason=next((row.reason for row in queued if row.reason), None),
    )


def schedule(
    accepted_at: datetime,
    *,
    start_by: datetime | None,
    ends_at: datetime | None,
    duration: int,
    wait: Wait,
    saves_at: datetime | None = None,
) -> _Element:
    """Return ``fl:Schedule``: when a lease was accepted, by when it starts, when it ends, how many seconds it lasts.

    Of one that waits, also when it is expected to start and why it waits.
    """
    element = FL.Schedule(FL.AcceptedTime(timestamp(accepted_at)))
    if start_by is not None:
        element.append(FL.StartBy(timestamp(start_by)))
    if ends_at is not None:
        element.append(FL.TerminationTime(timestamp(ends_at)))
    element.append(FL.Duration(duration_text(duration)))
    if wait.starts_at is not None:
        element.append(FL.ExpectedStart(timestamp(wait.starts_at)))
    element.extend(optional("WaitingReason", wait.reason))
    if saves_at is not None:
        element.append(FL.SavingTime(timestamp(saves_at)))
    return element


def allocation(size: Allocation) -> _Element:
    """Return ``fl:ResourceAllocation``."""
    return FL.ResourceAllocation(
        FL.MemoryMB(str(size.memory_mb)), FL.CPUs(str(size.cpus)), FL.DiskMB(str(size.disk_mb))
    )


def _schedule(row: Workspace) -> _Element:
    return schedule(
        row.accepted_at,
        start_by=row.start_by,
        ends_at=row.ends_at,
        duration=row.duration,
        wait=wait_of([row]),
        saves_at=row.saves_at,
    )


def _timing(row: Workspace) -> _Element:
    stamps = [(str(stamp), row.stamps[stamp]) for stamp in Stamp if stamp in row.stamps]
    return FL.Timing(
        *(FL.Stamp(timestamp(at, milliseconds=True), name=name) for name, at in stamps),
        *(FL.Measured(f"{seconds:.3f}", name=name) for name, seconds in sorted(row.seconds.items())),
    )


_RENDER: Final[Mapping[QName, Callable[[Workspace], list[_Element]]]] = {
    qname("fl", "Name"): lambda row: [FL.Name(row.name)],
    qname("fl", "Owner"): lambda row: [FL.Owner(clean_text(row.owner))],
    qname("fl", "Tag"): lambda row: [FL.Tag(row.tag)],
    qname("fl", "State"): lambda row: [FL.State(row.state)],
    qname("fl", "Task"): lambda row: optional("Task", row.task),
    qname("fl", "Reason"): lambda row: optional("Reason", row.reason),
    qname("fl", "Schedule"): lambda row: [_schedule(row)],
    qname("fl", "ResourceAllocation"): lambda row: [allocation(row.allocation)],
    qname("fl", "Networking"): lambda row: [networking(row.nics)],
    _NODE: lambda row: optional("Node", node_name(row.node or "")),
    qname("fl", "InitialState"): lambda row: [FL.InitialState(row.initial_state)],
    qname("fl", "EndAction"): lambda row: [FL.EndAction(row.end_action.capitalize())],
    qname("fl", "Timing"): lambda row: [_timing(row)],
    qname("fl", "Disks"): lambda row: [disks(row.disks)],
    qname("fl", "SaveTo"): lambda row: optional("SaveTo", row.end_uri),
    qname("fl", "Saved"): lambda row: [saved(row.saved)] if row.saved else [],
}

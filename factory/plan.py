"""The plan of a Create: which rows a request becomes, before anything is placed, held or written.

Pure but for the makers of ids and tags, which are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flyinglow.backend.api import Demand
from flyinglow.backend.api import Request as Ask
from flyinglow.factory.checks import duration_of, member_names
from flyinglow.factory.model import CreateRequest, Part
from flyinglow.factory.uris import UriPolicy
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace import ending, targets
from flyinglow.workspace.catalogue import Catalogue, image_of
from flyinglow.workspace.model import Allocation, Collection, Disk, EndAction, Kind, Nic, ResourceKey, Stamp, Workspace
from flyinglow.workspace.states import State
from flyinglow.workspace.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request becomes. ``resources`` are in the order of the answer: the whole first."""

    lease_id: str
    resources: tuple[tuple[str, ResourceKey], ...]
    collections: tuple[Collection, ...]
    workspaces: tuple[Workspace, ...]
    ask: Ask
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What planning needs of its surroundings."""

    now: datetime
    terms: Terms
    catalogue: Catalogue
    uris: UriPolicy = UriPolicy()
    new_id: Callable[[], str]
    new_tag: Callable[[], str]


def plan(request: CreateRequest, owner: str, desk: Desk, joined: Collection | None = None) -> Plan:
    """Lay out the rows of a checked request; ``joined`` is the open ensemble it adds to."""
    lease_id = desk.new_id()
    ensemble = joined or _ensemble(request, owner, lease_id, desk)
    builder = _Builder(request, owner, lease_id, ensemble, desk)
    parts = [builder.part(part) for part in request.parts]
    whole = [(ensemble.name, ensemble.key)] if ensemble else []
    groups = [group for group, _ in parts if group]
    members = [row for _, rows in parts for row in rows]
    return Plan(
        lease_id=lease_id,
        resources=(*whole, *(entry for group, rows in parts for entry in _entries(group, rows))),
        collections=(*([ensemble] if ensemble and joined is None else []), *groups),
        workspaces=tuple(members),
        ask=Ask(
            demands=tuple(map(demand, members)),
            duration=duration_of(request, desk.terms),
            start_within=request.start_within,
            preemptable=request.preemptable,
        ),
        open=ensemble is not None and ensemble.open,
    )


def demand(row: Workspace) -> Demand:
    """Return what a workspace needs of a node."""
    size = row.allocation
    networks = tuple(nic.network for nic in row.nics)
    return Demand(
        member=row.id, name=row.name, memory_mb=size.memory_mb, cpus=size.cpus, disk_mb=size.disk_mb, networks=networks
    )


def _entries(group: Collection | None, rows: list[Workspace]) -> list[tuple[str, ResourceKey]]:
    members = [(row.name, row.key) for row in rows]
    return [(group.name, group.key), *members] if group else members


def _ensemble(request: CreateRequest, owner: str, lease_id: str, desk: Desk) -> Collection | None:
    if len(request.parts) == 1 and not request.open:
        return None
    return Collection(
        key=ResourceKey(Kind.ENSEMBLE, desk.new_id()),
        owner=owner,
        name=request.name,
        lease_id=lease_id,
        open=request.open,
        accepted_at=desk.now,
        ends_at=desk.now + timedelta(seconds=desk.terms.open_limit) if request.open else None,
    )


class _Builder:
    """Makes the rows of one request's parts."""

    def __init__(
        self, request: CreateRequest, owner: str, lease_id: str, ensemble: Collection | None, desk: Desk
    ) -> None:
        self._request = request
        self._ensemble_id = ensemble.key.id if ensemble else None
        waits = ensemble is not None and ensemble.open
        self._common = Workspace(
            id="",
            tag="",
            name="",
            part="",
            allocation=Allocation(memory_mb=0, cpus=0),
            owner=owner,
            lease_id=lease_id,
            launch_set=ensemble.key.id if ensemble and waits else lease_id,
            ensemble_id=self._ensemble_id,
            target=State(request.initial_state),
            initial_state=request.initial_state,
            end_action=request.end_action,
            duration=duration_of(request, desk.terms),
            preemptable=request.preemptable,
            ready_within=request.ready_within,
            accepted_at=desk.now,
            start_by=start_by(request, desk.now),
            stamps={str(Stamp.ACCEPTED): desk.now},
        )
        self._desk = desk

    def part(self, part: Part) -> tuple[Collection | None, list[Workspace]]:
        """Return the part's group (None for a single workspace) and its workspaces."""
        group = self._group(part) if part.count > 1 else None
        group_id = group.key.id if group else None
        disks = tuple(self._disk(at, disk) for at, disk in enumerate(part.disks))
        saving = self._saving(part, disks)
        size = replace(part.allocation, disk_mb=max(part.allocation.disk_mb, self._disk_mb(disks)))
        nics = tuple(Nic(network=nic.network, name=nic.name or f"eth{at}") for at, nic in enumerate(part.nics))
        rows = [
            replace(
                self._common,
                id=self._desk.new_id(),
                tag=self._desk.new_tag(),
                name=name,
                part=part.name,
                group_id=group_id,
                allocation=size,
                disks=disks,
                nics=nics,
                context=part.context,
                hardware=part.hardware,
                save_lead=saving,
            )
            for name in member_names(part)
        ]
        uri = self._request.save_uri
        return group, [replace(row, end_uri=targets.target(uri, row)) for row in rows] if uri else rows

    def _disk(self, number: int, disk: Disk) -> Disk:
        return self._desk.uris.complete(replace(disk, name=disk.name or f"disk{number}"))

    def _saving(self, part: Part, disks: tuple[Disk, ...]) -> int:
        """Return how long before its end saving begins; raises InvalidError where it cannot be done in the lease."""
        if self._request.end_action is not EndAction.SAVE:
            return 0
        needed = ending.needed(disks, self._desk.catalogue, self._desk.terms)
        if needed is None:
            raise InvalidError(f"part {part.name}: there is nothing to save: no disk made from an image is written to")
        if self._common.duration <= needed:
            figures = {"duration.asked": self._common.duration, "duration.saving": needed}
            raise InvalidError(
                f"part {part.name}: saving its disk takes {needed} s of the lease at this site: ask for longer", figures
            )
        return needed

    def _group(self, part: Part) -> Collection:
        return Collection(
            key=ResourceKey(Kind.GROUP, self._desk.new_id()),
            owner=self._common.owner,
            name=part.name if self._ensemble_id else self._request.name,
            lease_id=self._common.lease_id,
            ensemble_id=self._ensemble_id,
            accepted_at=self._desk.now,
        )

    def _disk_mb(self, disks: tuple[Disk, ...]) -> int:
        images = (image_of(disk, self._desk.catalogue) for disk in disks if disk.blank_mb is None)
        return sum(image.size_mb for image in images if image) + sum(disk.blank_mb or 0 for disk in disks)


def start_by(request: CreateRequest, now: datetime) -> datetime | None:
    """Return until when the request's workspaces must have been launched: the earlier of its two deadlines."""
    within = now + timedelta(seconds=request.start_within) if request.start_within is not None else None
    given = [at for at in (within, request.start_by) if at is not None]
    return min(given, default=None)

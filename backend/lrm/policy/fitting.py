"""The greedy mapping of VMs into rooms of given sizes (the paper, section 2.2), and the use of slots that are there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from flyinglow.backend.lrm.policy.api import Layout, Policy
from flyinglow.backend.lrm.policy.wanted import vm_mb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flyinglow.backend.api import Demand, Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Sizes


class Base(Policy, Protocol):
    """A policy that others build on. ``shared``: it puts several VMs of one claim on one slot."""

    @property
    def shared(self) -> bool:
        """Say whether VMs share slots."""


@dataclass(slots=True)
class Room:
    """What is left of one slot while a claim is mapped."""

    memory_mb: int
    cpus: int
    demands: list[Demand] = field(default_factory=list)

    def takes(self, demand: Demand, sizes: Sizes) -> bool:
        """Say whether this VM fits."""
        return vm_mb(demand, sizes) <= self.memory_mb and demand.cpus <= self.cpus

    def put(self, demand: Demand, sizes: Sizes) -> None:
        """Give the VM its share."""
        self.memory_mb -= vm_mb(demand, sizes)
        self.cpus -= demand.cpus
        self.demands.append(demand)


def largest_first(demands: Iterable[Demand]) -> list[Demand]:
    """Sort VMs so that those that are hard to place come first; equal ones keep their order."""
    return sorted(demands, key=lambda demand: (-demand.memory_mb, -demand.cpus))


def first_fit(demand: Demand, rooms: Iterable[Room], sizes: Sizes, *, shared: bool) -> Room | None:
    """Put a VM into the first room that takes it and return that; None: there is none."""
    for room in rooms:
        if (shared or not room.demands) and room.takes(demand, sizes):
            room.put(demand, sizes)
            return room
    return None


def reuse(
    request: Request, candidates: Sequence[FreeSlot], sizes: Sizes, *, base: Base, shared: bool, patience: int
) -> Layout:
    """Map what fits onto slots that are there, in their order, and the rest as ``base`` does.

    A slot must last for the lease and the margin. Where the claim has to wait for further slots as well, it must have
    ``patience`` seconds to spare: its time runs while the others are waited for.
    """
    lasting = request.duration + sizes.margin
    uses = _map(request.demands, [slot for slot in candidates if slot.left >= lasting], sizes, shared=shared)
    if len(uses) == len(request.demands):
        return Layout(uses=uses, jobs=())
    uses = _map(request.demands, [slot for slot in candidates if slot.left >= lasting + patience], sizes, shared=shared)
    if not uses:
        return base.layout(request, (), sizes)
    rest = tuple(demand for demand in request.demands if demand.member not in uses)
    return Layout(uses=uses, jobs=base.layout(replace(request, demands=rest), (), sizes).jobs)


def _map(demands: Sequence[Demand], slots: Sequence[FreeSlot], sizes: Sizes, *, shared: bool) -> dict[str, str]:
    """Map all that fits: member -> slot id."""
    rooms = [Room(slot.memory_mb, slot.cpus) for slot in slots]
    for demand in largest_first(demands):
        first_fit(demand, rooms, sizes, shared=shared)
    return {demand.member: slot.slot for slot, room in zip(slots, rooms, strict=True) for demand in room.demands}


def unused_jobs(free: Sequence[FreeSlot]) -> dict[str, list[FreeSlot]]:
    """Return the jobs none of whose slots is used, with their slots, in the order in which they come."""
    jobs: dict[str, list[FreeSlot]] = {}
    for slot in free:
        jobs.setdefault(slot.job, []).append(slot)
    return {job: slots for job, slots in jobs.items() if not any(slot.claims for slot in slots)}

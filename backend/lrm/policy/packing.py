"""Several VMs of one claim on one slot: fewer nodes, and a job of fewer nodes starts sooner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.api import Layout, Upkeep
from flyinglow.backend.lrm.policy.exact import Exact
from flyinglow.backend.lrm.policy.fitting import Room, first_fit, largest_first, unused_jobs
from flyinglow.backend.lrm.policy.wanted import Size, check, job_of, slot_size
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Demand, Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingOptions:
    """``memory_mb`` and ``cpus``: how large a slot may be filled, overheads included; None: as large as a node."""

    memory_mb: int | None = None
    cpus: int | None = None
    whole: bool = False  # ask for that size even where the VMs need less, so that others can use what is left

    def __post_init__(self) -> None:
        """Refuse sizes that hold nothing."""
        if min(self.memory_mb or 1, self.cpus or 1) < 1 or 0 in {self.memory_mb, self.cpus}:
            raise InvalidError("the policy packing needs slots of at least 1 MB and 1 CPU")


@dataclass(frozen=True, slots=True)
class Packing:
    """First fit decreasing into slots as large as a node. Where nobody knows how large that is: as exact."""

    options: PackingOptions = PackingOptions()
    shared: bool = True

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Ask for one job with as few slots as the greedy mapping finds."""
        check(request, sizes)
        full = self._full(sizes)
        if full is None or not request.demands:
            return Exact().layout(request, free, sizes)
        rooms: list[Room] = []
        for demand in largest_first(request.demands):
            if first_fit(demand, rooms, sizes, shared=True) is None:
                rooms.append(_opened(demand, full, sizes))
        slots = [(self._size(room.demands, full, sizes), [demand.member for demand in room.demands]) for room in rooms]
        return Layout(uses={}, jobs=(job_of(slots, request.duration + sizes.margin),))

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Give back what nobody uses."""
        return Upkeep(give_back=tuple(unused_jobs(holdings.free)))

    def _full(self, sizes: Sizes) -> Size | None:
        memory_mb = _least(self.options.memory_mb, sizes.node_memory_mb)
        cpus = _least(self.options.cpus, sizes.node_cpus)
        return None if memory_mb is None or cpus is None else (memory_mb, cpus)

    def _size(self, demands: Sequence[Demand], full: Size, sizes: Sizes) -> Size:
        memory_mb, cpus = slot_size(demands, sizes)
        return (max(memory_mb, full[0]), max(cpus, full[1])) if self.options.whole else (memory_mb, cpus)


def _opened(demand: Demand, full: Size, sizes: Sizes) -> Room:
    """Open a room with its first VM; one that is larger than the administrator's size has a room of its own."""
    memory_mb, cpus = slot_size([demand], sizes)
    room = Room(max(full[0], memory_mb) - sizes.slot_overhead_mb, max(full[1], cpus))
    room.put(demand, sizes)
    return room


def _least(first: int | None, second: int | None) -> int | None:
    return min((value for value in (first, second) if value is not None), default=None)

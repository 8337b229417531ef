"""A number of slots is held ready ahead of need: a lease that fits starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.policy.api import Upkeep, Wanted
from flyinglow.backend.lrm.policy.fitting import Base, reuse
from flyinglow.backend.lrm.policy.keep_warm import idle
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Layout, Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProactiveOptions:
    """``memory_mb`` and ``cpus`` are those of the VM that each slot is held for; a node's own size limits them."""

    memory_mb: int
    cpus: int = 1
    slots: int = 1  # how many are held
    seconds: int = 3600  # the longest lease that a new one is good for
    least: int = 600  # one that is good for less than this counts no more
    patience: int = 300  # seconds to spare of a slot that is used together with new ones

    def __post_init__(self) -> None:
        """Refuse sizes and times that make no sense together."""
        if min(self.memory_mb, self.cpus, self.seconds) < 1 or min(self.slots, self.least, self.patience) < 0:
            raise InvalidError("the policy proactive needs memory_mb, cpus and seconds of at least 1, the others of 0")
        if self.least >= self.seconds:
            raise InvalidError(
                "the policy proactive needs 'least' to be less than 'seconds', or it would never be done"
            )


@dataclass(frozen=True, slots=True)
class Proactive:
    """Holds slots ready, each a job of its own so that each can be given back; uses idle ones; the rest as ``base``."""

    options: ProactiveOptions
    base: Base

    @property
    def shared(self) -> bool:
        """Say whether VMs share slots."""
        return self.base.shared

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Use idle slots, and ask for the rest."""
        return reuse(request, idle(free), sizes, base=self.base, shared=self.shared, patience=self.options.patience)

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Ask for what is missing; hold those that last longest of what ``base`` would give back."""
        size = self._size(sizes)
        ready = self._ready(holdings.free, size, sizes)[: self.options.slots]
        coming = sum(part.nodes for part in holdings.coming if _suits(part.memory_mb, part.cpus, size))
        wanted = self.base.upkeep(holdings, sizes)
        held = {slot.job for slot in ready}
        missing = max(self.options.slots - len(ready) - coming, 0)
        new = Wanted(components=(size,), seconds=self._seconds(sizes), members={})
        back = tuple(job for job in wanted.give_back if job not in held)
        return Upkeep(ask=(*wanted.ask, *(new,) * missing), give_back=back)

    def _size(self, sizes: Sizes) -> Component:
        """Return the slot to ask for: for the VM that is expected, or as large as there is."""
        memory_mb = self.options.memory_mb + sizes.vm_overhead_mb + sizes.slot_overhead_mb
        return Component(
            nodes=1,
            memory_mb=min(memory_mb, sizes.node_memory_mb or memory_mb),
            cpus=min(self.options.cpus, sizes.node_cpus or self.options.cpus),
        )

    def _seconds(self, sizes: Sizes) -> int:
        seconds = self.options.seconds + sizes.margin
        return min(seconds, sizes.longest or seconds)

    def _ready(self, free: Sequence[FreeSlot], size: Component, sizes: Sizes) -> list[FreeSlot]:
        """Return the idle slots that will do, those that last longest first."""
        # where no job may last longer than ``least``, a new one must count all the same
        least = min(self.options.least + sizes.margin, self._seconds(sizes) // 2)
        fitting = [
            slot
            for slot in free
            if not slot.claims
            and slot.left >= least
            and _suits(slot.memory_mb + sizes.slot_overhead_mb, slot.cpus, size)
        ]
        return sorted(fitting, key=lambda slot: -slot.left)


def _suits(memory_mb: int, cpus: int, size: Component) -> bool:
    return memory_mb >= size.memory_mb and cpus >= size.cpus

"""Slots that nobody uses are held for a while, so that the next lease need not wait for the batch scheduler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.fitting import Base, reuse, unused_jobs
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Layout, Sizes, Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepWarmOptions:
    """``patience``: seconds to spare of a slot that is used together with new ones."""

    seconds: int = 600  # how long an unused job is held
    patience: int = 300

    def __post_init__(self) -> None:
        """Refuse negative times."""
        if min(self.seconds, self.patience) < 0:
            raise InvalidError("the policy keep_warm needs times of at least 0 s")


@dataclass(frozen=True, slots=True)
class KeepWarm:
    """Uses the smallest idle slots that fit; what is not there is asked for as ``base`` does."""

    options: KeepWarmOptions
    base: Base

    @property
    def shared(self) -> bool:
        """Say whether VMs share slots."""
        return self.base.shared

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Use idle slots, and ask for the rest."""
        return reuse(request, idle(free), sizes, base=self.base, shared=self.shared, patience=self.options.patience)

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Hold back what ``base`` would give back, until it was idle for long, or has too little time to be of use."""
        wanted = self.base.upkeep(holdings, sizes)
        unused = unused_jobs(holdings.free)

        def worn(job: str) -> bool:
            slots = unused.get(job, [])
            return all(slot.idle >= self.options.seconds or slot.left <= sizes.margin for slot in slots)

        return replace(wanted, give_back=tuple(job for job in wanted.give_back if worn(job)))


def idle(free: Sequence[FreeSlot]) -> list[FreeSlot]:
    """Return the slots that nobody uses, smallest first, and of equal ones that which ends first."""
    unused = [slot for slot in free if not slot.claims]
    return sorted(unused, key=lambda slot: (slot.memory_mb, slot.cpus, slot.left, slot.slot))

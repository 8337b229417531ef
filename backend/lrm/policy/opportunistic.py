"""Workspaces that may be pre-empted use what running slots have left; for them no job is asked unless it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.fitting import Base, reuse
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Layout, Sizes, Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class OpportunisticOptions:
    """``patience``: seconds to spare of a slot that is used together with new ones."""

    patience: int = 300

    def __post_init__(self) -> None:
        """Refuse a negative time."""
        if self.patience < 0:
            raise InvalidError("the policy opportunistic needs a patience of at least 0 s")


@dataclass(frozen=True, slots=True)
class Opportunistic:
    """Shares running slots with what may be pre-empted; everything else as ``base``."""

    options: OpportunisticOptions
    base: Base

    @property
    def shared(self) -> bool:
        """Say whether VMs share slots."""
        return self.base.shared

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Use what is left of slots, those that others use anyway first."""
        if not request.preemptable:
            return self.base.layout(request, free, sizes)
        slots = sorted(free, key=lambda slot: (not slot.claims, slot.memory_mb, slot.cpus, slot.slot))
        return reuse(request, slots, sizes, base=self.base, shared=True, patience=self.options.patience)

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Do as ``base`` does."""
        return self.base.upkeep(holdings, sizes)

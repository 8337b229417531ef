"""The default policy of the paper (section 2.2): exactly what is needed, one VM per node, given back at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.api import Layout, Upkeep
from flyinglow.backend.lrm.policy.fitting import unused_jobs
from flyinglow.backend.lrm.policy.wanted import check, job_of, slot_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Sizes


@dataclass(frozen=True, slots=True)
class ExactOptions:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True)
class Exact:
    """One slot for each VM, as small as it can be; a claim's slots are its own, so free ones are never used."""

    options: ExactOptions = ExactOptions()
    shared: bool = False

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Ask for one job with a slot for every member."""
        check(request, sizes)
        if not request.demands:
            return Layout(uses={}, jobs=())
        slots = [(slot_size([demand], sizes), [demand.member]) for demand in request.demands]
        return Layout(uses={}, jobs=(job_of(slots, request.duration + sizes.margin),))

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Give back what nobody uses."""
        return Upkeep(give_back=tuple(unused_jobs(holdings.free)))

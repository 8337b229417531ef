"""Jobs are asked for longer than their leases, so that a lease can be extended without the batch scheduler."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.fitting import Base
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Layout, Sizes, Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class OverProvisionOptions:
    """A job is asked for ``factor`` times the lease and ``seconds`` more, where the site allows that much."""

    factor: float = 1.5
    seconds: int = 0

    def __post_init__(self) -> None:
        """Refuse what would make jobs shorter than their leases."""
        if not 1 <= self.factor < math.inf or self.seconds < 0:
            raise InvalidError("the policy over_provision needs a factor of at least 1 and seconds of at least 0")


@dataclass(frozen=True, slots=True)
class OverProvision:
    """Lays out as ``base`` does; only the jobs last longer."""

    options: OverProvisionOptions
    base: Base

    @property
    def shared(self) -> bool:
        """Say whether VMs share slots."""
        return self.base.shared

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Stretch the jobs that ``base`` asks for; a limit of the site shortens the stretch, never the lease."""
        laid = self.base.layout(request, free, sizes)
        longer = math.ceil(request.duration * self.options.factor) + self.options.seconds + sizes.margin
        allowed = longer if sizes.longest is None else min(longer, sizes.longest)
        jobs = tuple(replace(job, seconds=max(job.seconds, allowed)) for job in laid.jobs)
        return replace(laid, jobs=jobs)

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Do as ``base`` does."""
        return self.base.upkeep(holdings, sizes)

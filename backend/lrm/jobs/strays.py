"""Jobs of our user that bear our name and have no row: kept in view, and due for reaping after a grace period."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobView


class Strays:
    """A stray that a complete listing no longer shows is forgotten."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._since: dict[str, float] = {}

    def due(self, found: Sequence[JobView], now: float, submitting: Collection[str]) -> list[JobView]:
        """Return those that were there for the grace period. A job by the name of one just being submitted is none."""
        strays = {view.lrm_id: view for view in found if view.tag not in submitting}
        self._since = {lrm_id: self._since.get(lrm_id, now) for lrm_id in strays}
        return [view for lrm_id, view in strays.items() if now - self._since[lrm_id] >= self._grace]

    def plain(self) -> list[str]:
        """Return the LRM's ids of those in view."""
        return sorted(self._since)

"""The mass-cancel guard: what would take many live slots away at once waits for the operator's word.

A scheduler that was set up anew, a listing of another user's, a broken adapter: all look as if every job had ended at
once. What clients end does not count, nor what pilots announced themselves; nor does the end of a single job, however
many nodes it has, as that is how schedulers end jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held back: jobs by tag, or strays by the LRM's id, with why; and how many slots that are, of how many."""

    what: Mapping[str, str]
    lost: int
    live: int

    def plain(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {"held": dict(self.what), "lost": self.lost, "live": self.live}


@dataclass(slots=True)
class Guard:
    """``share`` and ``least`` are the site's: more than both lost in one pass is held."""

    share: float
    least: int
    held: Held | None = None
    allowed: frozenset[str] = frozenset()

    def passes(self, what: Mapping[str, str], lost: int, live: int) -> bool:
        """Say whether these may be given up now; when not, remember them for the operator."""
        few = len(what) <= 1 or lost <= self.least or lost <= self.share * live
        if few or set(what) <= self.allowed:
            self.held, self.allowed = None, frozenset()
            return True
        self.held = Held(what=dict(what), lost=lost, live=live)
        return False

    def confirm(self) -> Held | None:
        """Let go on what is held, once, and nothing beyond it; return what that is."""
        if self.held is not None:
            self.allowed = frozenset(self.held.what)
        return self.held

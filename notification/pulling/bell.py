"""The bell that wakes those who wait at a pull point for its next message; they wait on the reactor, on no thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

LONGEST: int = 20
"""Seconds of the longest wait."""


class Bell:
    """Used on the reactor's thread only. One waits at a pull point; who comes next sends away who was there.

    ``most`` wait in all and ``per_owner`` for one identity, so that nobody takes all places.
    """

    def __init__(self, clock: Any, *, most: int = 96, per_owner: int = 8) -> None:
        self._clock = clock
        self._most = most
        self._per_owner = per_owner
        self._waiting: dict[str, tuple[Deferred[None], Any, str]] = {}
        self._owners: Counter[str] = Counter()

    def wait(self, pull_point_id: str, seconds: float, owner: str) -> Deferred[None]:
        """Return a Deferred that fires when messages have come in, or so many seconds later.

        It fires at once when as many wait as may: whoever asks again and again does no worse than one who waits.
        """
        self.ring([pull_point_id])
        rung: Deferred[None] = Deferred()
        if len(self._waiting) >= self._most or self._owners[owner] >= self._per_owner:
            rung.callback(None)
            return rung
        timer = self._clock.callLater(min(seconds, LONGEST), self.ring, [pull_point_id])
        self._waiting[pull_point_id] = (rung, timer, owner)
        self._owners[owner] += 1
        return rung

    def leave(self, pull_point_id: str, rung: Deferred[None]) -> None:
        """Give up the place of a wait that has its answer already; another's that came after it stays."""
        if pull_point_id in self._waiting and self._waiting[pull_point_id][0] is rung:
            self.ring([pull_point_id])

    def ring(self, pull_point_ids: Sequence[str]) -> None:
        """Wake whoever waits at these."""
        for name in pull_point_ids:
            waiting = self._waiting.pop(name, None)
            if waiting is not None:
                rung, timer, owner = waiting
                self._owners -= Counter([owner])  # which keeps no zeros
                if timer.active():
                    timer.cancel()
                rung.callback(None)

    def stop(self) -> None:
        """Wake everybody."""
        self.ring(tuple(self._waiting))

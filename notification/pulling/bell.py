"""The bell that wakes those who wait at a pull point for its next message; they wait on the reactor, on no thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

LONGEST: int = 20
"""Seconds of the longest wait."""


class Bell:
    """Used on the reactor's thread only. One waits at a pull point; who comes next sends away who was there."""

    def __init__(self, clock: Any, *, most: int = 96) -> None:
        self._clock = clock
        self._most = most
        self._waiting: dict[str, tuple[Deferred[None], Any]] = {}

    def wait(self, pull_point_id: str, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires when messages have come in, or so many seconds later.

        It fires at once when as many wait as may: whoever asks again and again does no worse than one who waits.
        """
        self.ring([pull_point_id])
        rung: Deferred[None] = Deferred()
        if len(self._waiting) >= self._most:
            rung.callback(None)
            return rung
        timer = self._clock.callLater(min(seconds, LONGEST), self.ring, [pull_point_id])
        self._waiting[pull_point_id] = (rung, timer)
        return rung

    def ring(self, pull_point_ids: Sequence[str]) -> None:
        """Wake whoever waits at these."""
        for name in pull_point_ids:
            waiting = self._waiting.pop(name, None)
            if waiting is not None:
                rung, timer = waiting
                if timer.active():
                    timer.cancel()
                rung.callback(None)

    def stop(self) -> None:
        """Wake everybody."""
        self.ring(tuple(self._waiting))

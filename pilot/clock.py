"""The pilot's time, handed in from outside: durations by a clock that nobody sets, stamps by the node's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Two clocks: ``monotonic`` counts seconds from no day in particular, ``wall`` seconds since 1970."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]

    @property
    def stamp_ms(self) -> int:
        """Milliseconds since 1970, for the record only: no decision may hang on it."""
        return int(self.wall() * 1000)

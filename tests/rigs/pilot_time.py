"""A pilot's time, which only moves when it is told to, and what its main thread waits on."""

from __future__ import annotations

from collections import deque
from typing import Any

from flyinglow.pilot.clock import Clock


class FakeTime:
    """Both clocks of a pilot."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(lambda: self.now, lambda: 1_700_000_000.0 + self.now)


class FakeBell:
    """Rings what was planned; waiting moves the time to the next plan, or as far as was asked for."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.plan: deque[tuple[float, Any]] = deque()
        self.rings = 0

    def at(self, moment: float, what: Any) -> None:
        """Plan a signal's number, or something to call."""
        self.plan.append((moment, what))
        self.plan = deque(sorted(self.plan, key=lambda pair: pair[0]))

    def ring(self) -> None:
        self.rings += 1

    def wait(self, seconds: float | None) -> list[int]:
        until = float("inf") if seconds is None else self.time.now + seconds
        if not self.plan or self.plan[0][0] > until:
            if until == float("inf"):
                raise AssertionError("it waits for ever, and nothing is planned")
            self.time.now = max(self.time.now, until)
            return []
        moment, what = self.plan.popleft()
        self.time.now = max(self.time.now, moment)
        if callable(what):
            what()
            return []
        return [what]

"""The daemon's timers when the clock on the wall is set."""

from typing import Any

import pytest
from twisted.internet.base import ReactorBase

from flyinglow.server.steady import steady

HOUR = 3600.0


class Bare(ReactorBase):
    """A reactor without sockets."""

    def installWaker(self) -> None:
        """Nobody wakes it."""


class Clocks:
    """The time of day and what passes, each set by hand."""

    def __init__(self) -> None:
        self.day, self.passed = 1e9, 50.0

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.day += seconds
        self.passed += seconds


def scene() -> tuple[Clocks, Any, list[str]]:
    clocks, reactor, done = Clocks(), Bare(), []  # type: ignore[var-annotated]
    steady(reactor, lambda: clocks.day, lambda: clocks.passed)
    reactor.callLater(10, done.append, "ten")
    return clocks, reactor, done


@pytest.mark.parametrize("step", [0.0, -HOUR, -1e9])
def test_a26_a_timer_is_due_when_its_seconds_have_passed(step: float) -> None:
    clocks, reactor, done = scene()
    clocks.go(4)
    clocks.day += step
    clocks.go(5)
    reactor.runUntilCurrent()
    assert done == []
    clocks.go(1)
    reactor.runUntilCurrent()
    assert done == ["ten"]


def test_it_is_the_time_of_day_until_that_is_set_back_and_again_when_it_has_come_there() -> None:
    clocks, reactor, _ = scene()
    clocks.go(5)
    assert reactor.seconds() == clocks.day
    clocks.day += HOUR
    assert reactor.seconds() == clocks.day
    clocks.day -= HOUR
    clocks.go(1)
    assert reactor.seconds() == clocks.day + HOUR
    clocks.day += 2 * HOUR
    assert reactor.seconds() == clocks.day

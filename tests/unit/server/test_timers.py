"""Periodic work: at its interval, never twice at once, and not ended by a failure."""

from __future__ import annotations

import logging

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.server.timers import Timers


def test_a_job_runs_at_once_and_at_its_interval() -> None:
    clock, ran = Clock(), []

    async def job() -> None:
        ran.append(clock.seconds())

    Timers(clock).every(5, "job", job)
    for _ in range(10):
        clock.advance(1)
    assert ran == [0, 5, 10]


def test_a_job_that_fails_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, ran = Clock(), []

    async def job() -> None:
        ran.append(clock.seconds())
        raise RuntimeError("no")

    with caplog.at_level(logging.ERROR):
        Timers(clock).every(5, "job", job, at_once=False)
        clock.advance(5)
        clock.advance(5)
    assert ran == [5, 10]
    assert "job failed" in caplog.text


def test_a_job_that_is_slow_is_not_started_twice_and_is_waited_for() -> None:
    clock, going = Clock(), Deferred[None]()
    ran = []

    async def job() -> None:
        ran.append(clock.seconds())
        await going

    timers = Timers(clock)
    timers.every(5, "job", job)
    clock.advance(12)
    stopped = timers.stop()
    assert ran == [0]
    states = [bool(stopped.called)]
    going.callback(None)
    assert [*states, bool(stopped.called)] == [False, True]
    clock.advance(20)
    assert ran == [0]

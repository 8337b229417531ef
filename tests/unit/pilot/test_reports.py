"""One report at a time, each until it is acknowledged, by two channels."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import RefusedError
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Answer, Kind, Settings, Standing, message, opened, verify
from flyinglow.pilot.reports import Reports
from rigs.pilot_time import FakeTime

AWAY = TransientError("away")


class FakeLine:
    def __init__(self) -> None:
        self.said: list[Any] = []
        self.boxes: list[float] = []
        self.answers: deque[Any] = deque()
        self.abandoned = 0

    def say(self, said: Any, seconds: Any) -> Any:
        self.said.append(said)
        self.boxes.append(seconds)
        answer = self.answers.popleft() if self.answers else Answer(ack=said.sequence, key="22" * 32, session="s1")
        if isinstance(answer, Exception):
            raise answer
        return answer(said) if callable(answer) else answer

    def abandon(self) -> None:
        self.abandoned += 1


class FakeSpool:
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.fails = False

    def append(self, data: Any, seconds: Any) -> None:
        if self.fails:
            raise TransientError("no route")
        self.data += data.splitlines()


class Rig:
    def __init__(self, settings: Settings, time: FakeTime) -> None:
        self.line, self.spool = FakeLine(), FakeSpool()
        self.identity = Identity(settings, 0, "n1", clock=time.clock, incarnation="i", software="p")
        self.heard: list[Any] = []
        self.fates: list[Any] = []
        self.reports = Reports(
            self.line,
            self.identity,
            clock=time.clock,
            patience=10.0,
            spool=self.spool,
            heard=self.heard.append,
            fate=self.fates.append,
            log=Log(-1, time.clock, "t"),
        )


@pytest.fixture
def rig(settings: Settings, time: FakeTime) -> Rig:
    return Rig(settings, time)


def test_reports_go_one_by_one_and_the_first_brings_the_key(rig: Rig) -> None:
    assert rig.reports.once() is None
    rig.reports.add(Kind.HELLO, pid=1)
    rig.reports.add(Kind.READY)
    assert not rig.reports.settled
    assert rig.reports.once() == 0.0
    assert (rig.identity.key, rig.identity.session, rig.identity.bound.is_set()) == ("22" * 32, "s1", True)
    assert rig.reports.once() == 0.0
    assert rig.reports.once() is None
    assert [(said.kind, said.sequence) for said in rig.line.said] == [(Kind.HELLO, 1), (Kind.READY, 2)]
    assert rig.reports.settled


def test_it_is_repeated_as_it_was_with_longer_and_longer_pauses(rig: Rig, time: FakeTime) -> None:
    rig.line.answers.extend([AWAY] * 7)
    rig.spool.fails = True
    rig.reports.add(Kind.HELLO)
    pauses = []
    for _ in range(7):
        time.now += 1.0
        pauses.append(rig.reports.once())
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert rig.reports.once() == 0.0
    assert len(set(map(repr, rig.line.said))) == 1  # its time is when it happened, not when it was said


def test_an_answer_without_acknowledgement_is_none(rig: Rig) -> None:
    rig.reports.add(Kind.HELLO)
    rig.reports.once()
    rig.reports.add(Kind.READY)
    rig.line.answers.append(Answer(ack=1, standing=Standing(end=True)))
    assert rig.reports.once() == 0.2
    assert not rig.reports.settled
    assert rig.heard[-1].standing.end  # what it says counts all the same
    rig.reports.once()
    assert [said.kind for said in rig.line.said] == [Kind.HELLO, Kind.READY, Kind.READY]


def test_a_hello_that_brings_no_key_is_said_again(rig: Rig) -> None:
    rig.reports.add(Kind.HELLO)
    rig.line.answers.append(Answer(ack=1))
    assert rig.reports.once() == 0.2
    assert not rig.reports.settled


def test_the_second_channel_takes_what_the_first_does_not(rig: Rig) -> None:
    rig.reports.add(Kind.HELLO)
    rig.reports.once()
    rig.line.answers.extend([AWAY, AWAY])
    rig.reports.add(Kind.READY)
    rig.reports.add(Kind.RELEASED)
    rig.reports.once()
    rig.reports.once()
    spooled = []
    for line in rig.spool.data:
        fields, text, mac = opened(line)
        verify("22" * 32, text, mac)
        spooled.append(message(fields))
    assert [(said.kind, said.sequence) for said in spooled] == [(Kind.READY, 2), (Kind.RELEASED, 3)]
    assert rig.reports.settled  # it is on the service's disk
    rig.line.answers.append(Answer(ack=3))  # the spool was read
    assert rig.reports.once() == 0.0
    assert rig.line.said[-1].sequence == 2  # the oldest that no answer acknowledged
    assert rig.reports.once() is None


def test_without_its_key_only_the_first_report_can_be_spooled(rig: Rig) -> None:
    rig.line.answers.append(AWAY)
    rig.reports.add(Kind.HELLO)
    rig.reports.add(Kind.READY)
    rig.reports.once()
    assert len(rig.spool.data) == 1
    assert not rig.reports.settled
    verify("11" * 32, *opened(rig.spool.data[0])[1:])


def test_a_refusal_ends_it(rig: Rig) -> None:
    rig.line.answers.append(RefusedError("no such slot"))
    rig.reports.add(Kind.HELLO)
    assert rig.reports.once() is None
    rig.reports.add(Kind.RELEASED)
    assert rig.reports.once() is None
    assert len(rig.line.said) == 1
    assert rig.fates[0].message == "no such slot"
    assert rig.reports.settled


def test_when_time_is_short_posts_are_boxed_and_one_that_hangs_is_broken_off(rig: Rig, time: FakeTime) -> None:
    def hang(_: Any) -> Any:
        time.now += 5.0
        rig.reports.hurry(3.0)
        raise AWAY

    rig.line.answers.append(hang)
    rig.reports.add(Kind.HELLO)
    rig.reports.once()
    assert rig.line.abandoned == 1
    rig.line.answers.extend([AWAY] * 6)
    assert max(rig.reports.once() or 0.0 for _ in range(6)) == 1.0
    assert rig.line.boxes == [10.0] + [3.0] * 6
    rig.reports.hurry(0.01)
    rig.reports.once()
    assert rig.line.boxes[-1] == 0.5
    assert rig.line.abandoned == 1


def test_the_epoch_of_the_answer_is_in_all_that_follows(rig: Rig) -> None:
    rig.line.answers.append(Answer(ack=1, key="22" * 32, epoch=3))
    rig.reports.add(Kind.HELLO)
    rig.reports.add(Kind.READY)
    rig.reports.once()
    rig.reports.once()
    assert [said.epoch for said in rig.line.said] == [1, 3]

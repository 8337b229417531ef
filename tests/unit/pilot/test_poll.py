"""Asking for orders, and bringing the agent's lines up."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import RefusedError
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import LONG_POLL, Answer, Kind, Settings
from flyinglow.pilot.poll import Poll, Said
from rigs.pilot_time import FakeTime

AWAY = TransientError("away")


class FakeLine:
    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.said: list[Any] = []
        self.boxes: list[float] = []
        self.answers: deque[Any] = deque()
        self.takes = 0.0

    def say(self, said: Any, seconds: Any) -> Any:
        self.said.append(said)
        self.boxes.append(seconds)
        self.time.now += self.takes
        answer = self.answers.popleft() if self.answers else Answer(session=said.session)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def abandon(self) -> None: ...


class Relay:
    def __init__(self) -> None:
        self.session, self.got = "", 0
        self.begun: list[str] = []
        self.given: list[Any] = []

    def begin(self, session: Any) -> None:
        self.session = session
        self.begun.append(session)

    def orders(self, orders: Any) -> None:
        self.given += orders
        self.got = orders[-1][0]


class Rig:
    def __init__(self, settings: Settings, time: FakeTime) -> None:
        self.line, self.relay = FakeLine(time), Relay()
        self.identity = Identity(settings, 0, "n1", clock=time.clock, incarnation="i", software="p")
        self.heard: list[Any] = []
        self.fates: list[Any] = []
        common: dict[str, Any] = {
            "heard": self.heard.append,
            "fate": self.fates.append,
            "log": Log(-1, time.clock, "t"),
        }
        self.poll = Poll(self.line, self.identity, self.relay, clock=time.clock, **common)
        self.saying = Said(self.line, self.identity, patience=10.0, **common)

    def bind(self, session: Any = "s1") -> None:
        self.identity.bind(Answer(key="22" * 32, session=session))


@pytest.fixture
def rig(settings: Settings, time: FakeTime) -> Rig:
    return Rig(settings, time)


def test_without_the_slots_key_it_does_not_ask(rig: Rig) -> None:
    assert rig.poll.once() is None
    assert rig.line.said == []


def test_a_poll_names_the_session_of_the_first_answer_and_its_turns_grow(rig: Rig) -> None:
    rig.bind()
    rig.line.answers.append(Answer(session="s1", orders=((7, {"id": 7}),)))
    assert rig.poll.once() == 0.0
    rig.poll.once()
    asked = [(said.kind, said.session, said.turn, said.got, said.sequence) for said in rig.line.said]
    assert asked == [(Kind.POLL, "s1", 1, 0, 0), (Kind.POLL, "s1", 2, 7, 0)]
    assert rig.relay.given == [(7, {"id": 7})]
    assert rig.line.boxes[0] > LONG_POLL


def test_a_new_session_is_taken_on_and_its_orders_are_asked_for(rig: Rig) -> None:
    rig.bind()
    rig.line.answers.append(Answer(session="s2", orders=((7, {"id": 7}),)))
    assert rig.poll.once() == 0.0
    assert rig.relay.begun == ["s1", "s2"]
    assert rig.relay.given == []  # they were for a poll of that session
    rig.poll.once()
    assert rig.line.said[-1].session == "s2"


def test_a_service_that_is_away_is_asked_less_and_less_often(rig: Rig) -> None:
    rig.bind()
    rig.line.answers.extend([AWAY] * 6)
    assert [rig.poll.once() for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert rig.poll.once() == 0.0


def test_polls_that_bring_nothing_at_once_do_not_spin(rig: Rig) -> None:
    rig.bind()
    pauses = [rig.poll.once() for _ in range(20)]
    assert pauses[:3] == [0.0] * 3
    assert pauses[3]
    assert pauses[-1] == 1.0


def test_a_poll_that_was_held_is_followed_by_the_next_at_once(rig: Rig) -> None:
    rig.bind()
    rig.line.takes = LONG_POLL
    assert [rig.poll.once() for _ in range(10)] == [0.0] * 10


def test_a_refused_poll_is_the_last(rig: Rig) -> None:
    rig.bind()
    rig.line.answers.append(RefusedError("gone"))
    assert rig.poll.once() is None
    assert rig.poll.once() is None
    assert len(rig.line.said) == 1
    assert len(rig.fates) == 1


def test_lines_go_up_together_and_each_batch_has_a_turn(rig: Rig) -> None:
    rig.saying.begin("s1", ["hello"])
    rig.saying.put("s1", ["a"])
    assert rig.saying.once() == 0.0
    rig.saying.put("s1", ["b"])
    rig.saying.once()
    assert rig.saying.once() is None
    assert [(said.body["lines"], said.turn, said.session) for said in rig.line.said] == [
        (["hello", "a"], 1, "s1"),
        (["b"], 2, "s1"),
    ]
    assert rig.saying.settled


def test_a_batch_is_repeated_as_it_was(rig: Rig) -> None:
    rig.saying.begin("s1", ["a"])
    rig.line.answers.append(AWAY)
    assert rig.saying.once() == 0.2
    rig.saying.put("s1", ["b"])
    assert not rig.saying.settled
    rig.saying.once()
    rig.saying.once()
    assert [(said.body["lines"], said.turn) for said in rig.line.said] == [(["a"], 1), (["a"], 1), (["b"], 2)]


def test_what_was_meant_for_another_session_is_dropped(rig: Rig) -> None:
    rig.saying.begin("s1", ["a"])
    rig.line.answers.append(AWAY)
    rig.saying.once()
    rig.saying.begin("s2", ["hello"])
    rig.saying.put("s1", ["late"])
    rig.saying.once()
    assert rig.saying.once() is None
    assert rig.line.said[-1].body["lines"] == ["hello"]
    assert rig.line.said[-1].turn > rig.line.said[0].turn


def test_long_lines_go_up_one_by_one(rig: Rig) -> None:
    rig.saying.begin("s1", ["x" * (1 << 20), "y" * (1 << 20), "z"])
    rig.saying.once()
    rig.saying.once()
    assert [len(said.body["lines"]) for said in rig.line.said] == [1, 1]


def test_lines_for_a_service_that_stays_away_do_not_grow_without_end(rig: Rig) -> None:
    rig.saying.begin("s1", [])
    rig.saying.put("s1", [str(number) for number in range(20_000)])
    rig.saying.once()
    assert rig.line.said[-1].body["lines"][0] == "10000"

"""Steps are done in order and undone backwards, whatever goes wrong between them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.life import Exit, live
from flyinglow.pilot.line import RefusedError, VersionError
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Answer, Kind, Settings, Standing
from flyinglow.pilot.relay import Relay
from flyinglow.pilot.slot import Mailbox, Slot
from flyinglow.pilot.steps import steps
from flyinglow.pilot.term import Term
from rigs.pilot_time import FakeBell, FakeTime

INFO = {"slot": "t1.0", "base_mb": 8192, "target_mb": 7168, "actual_mb": 7168, "settled": True, "seconds": 0.1}


class Reports:
    """Takes everything, and has it settled at once unless told otherwise."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.said: list[tuple[str, dict[str, Any], float]] = []
        self.settled = True
        self.hurried: list[float] = []

    def add(self, kind: Any, **body: Any) -> None:
        self.said.append((kind.value, body, self.time.now))

    def hurry(self, seconds: Any) -> None:
        self.hurried.append(seconds)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.said]

    def body(self, kind: Any) -> dict[str, Any]:
        return next(body for name, body, _ in self.said if name == kind)

    def at(self, kind: Any) -> float:
        return next(at for name, _, at in self.said if name == kind)


class Agent:
    """Answers orders as it is scripted to: a list of answers for each kind of order, then the usual one."""

    def __init__(self) -> None:
        self.alive = False
        self.starts = 0
        self.closed = False
        self.did: list[str] = []
        self.script: dict[str, list[Any]] = {"reserve": [], "release": []}
        self.lingers = False
        self.relay: Relay
        self.hello = {"v": 1, "news": "hello", "body": {"version": "0.1", "node": "n", "drivers": []}}

    def start(self) -> None:
        self.starts += 1
        self.alive, self.closed = True, False
        self.relay.heard([json.dumps(self.hello).encode()])

    def write(self, line: Any, seconds: Any) -> None:
        if not self.alive:
            raise TransientError("the agent is not there")
        order = json.loads(line)
        self.did.append(order["order"])
        usual = {"destroyed": ["vm1"], **INFO, "memory_mb": 0}
        body = {**INFO, "memory_mb": 1024} if order["order"] == "reserve" else usual
        answer = {"v": 1, "id": order["id"], "ok": True, "body": body}
        script = self.script[order["order"]]
        change = script.pop(0) if script else None
        if change == "silence":
            return
        if callable(change):
            change(answer)
            return
        self.relay.heard([json.dumps({**answer, **(change or {})}).encode()])

    def close(self) -> None:
        self.closed = True
        self.alive = self.lingers

    def gone(self, seconds: Any) -> bool:
        return not self.alive

    def die(self) -> None:
        self.alive = False
        self.relay.lost()


class Upward:
    def begin(self, *_: Any) -> None: ...

    def put(self, *_: Any) -> None: ...


FAILS = {"ok": False, "error": {"kind": "broken", "message": "stuck", "figures": {}}}


class Rig:
    def __init__(self, settings: Settings, time: FakeTime, bell: FakeBell) -> None:
        self.time, self.bell = time, bell
        self.agent = Agent()
        self.reports: Any = Reports(time)
        self.mailbox = Mailbox(time.clock, bell.ring)
        log = Log(-1, time.clock, "t")
        self.agent.relay = Relay(self.agent.write, Upward(), bell.ring, log)
        self.slot = Slot(
            settings,
            0,
            clock=time.clock,
            bell=bell,
            mailbox=self.mailbox,
            term=Term(settings, time.now),
            agent=self.agent,
            relay=self.agent.relay,
            reports=cast("Any", self.reports),
            log=log,
        )

    def stand(self, moment: Any, **standing: Any) -> None:
        self.bell.at(moment, lambda: self.mailbox.heard(Answer(standing=Standing(**standing))))

    def live(self) -> Exit:
        return live(self.slot, steps(self.slot, "n1", "pilot 0"))


@pytest.fixture
def make(settings: Settings, time: FakeTime, bell: FakeBell) -> Any:
    return lambda **changes: Rig(replace(settings, **{"agent": ("/bin/true",), **changes}), time, bell)


def test_a_whole_life(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.stand(1100.0, end=True, reason="destroyed")
    assert rig.live() is Exit.DONE
    assert rig.reports.kinds == ["hello", "ready", "releasing", "released"]
    assert rig.agent.did == ["reserve", "release"]
    assert rig.agent.closed
    ready, released = rig.reports.body("ready"), rig.reports.body("released")
    assert ready == {
        "memory_mb": 1024,
        "target_mb": 7168,
        "actual_mb": 7168,
        "base_mb": 8192,
        "seconds": 0.1,
        "left": 600.0,
    }
    assert released == {"reason": "ended: destroyed", "destroyed": ["vm1"], "restored_mb": 1024, "seconds": 0.0}


def test_the_slot_ends_by_its_own_clock(make: Callable[..., Rig]) -> None:
    rig = make(seconds=600.0)
    assert rig.live() is Exit.DONE
    assert rig.reports.at("releasing") == 1595.0


def test_a_notice_gives_the_service_its_share(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.bell.at(1100.0, signal.SIGTERM)
    assert rig.live() is Exit.DONE
    assert rig.reports.kinds == ["hello", "ready", "signalled", "releasing", "released"]
    assert rig.reports.body("signalled") == {"signal": "SIGTERM", "grace": 30.0, "left": 29.0}
    assert rig.reports.at("releasing") == 1115.0
    assert rig.reports.hurried == [3.75]


def test_twenty_notices_and_another_thirty_seconds_later_are_one(make: Callable[..., Rig]) -> None:
    rig = make(grace=60.0)
    for index in range(20):
        rig.bell.at(1100.0 + index * 0.002, signal.SIGTERM)
    rig.bell.at(1130.0 - 0.01, signal.SIGUSR2)
    assert rig.live() is Exit.DONE
    assert rig.reports.kinds.count("signalled") == 1
    assert rig.reports.at("releasing") == 1130.0


def test_a_warning_then_the_notice_is_told_but_gains_no_time(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.stand(1100.0, warned=20.0)
    rig.bell.at(1104.0, signal.SIGTERM)
    assert rig.live() is Exit.DONE
    assert rig.reports.body("signalled")["left"] == 15.0
    assert rig.reports.at("releasing") == 1105.0
    assert rig.reports.body("released")["reason"] == "warned"


def test_a_notice_before_it_is_ready_gives_back_at_once(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["reserve"] = [lambda answer: rig.bell.at(1003.0, lambda: rig.agent.relay.heard([_line(answer)]))]
    rig.bell.at(1002.0, signal.SIGXCPU)
    assert rig.live() is Exit.DONE
    assert rig.reports.kinds == ["hello", "signalled", "released"]
    assert rig.reports.at("released") == 1003.0  # as soon as the agent had reserved
    assert rig.agent.did == ["reserve", "release"]


def test_a_reservation_that_hangs_is_not_waited_for_beyond_the_services_share(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["reserve"] = ["silence"]
    rig.bell.at(1002.0, signal.SIGTERM)
    assert rig.live() is Exit.DONE
    assert rig.agent.did == ["reserve", "release"]
    assert rig.reports.at("released") == 1017.0


def test_a_reservation_that_fails_is_undone_and_told(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["reserve"] = [FAILS]
    assert rig.live() is Exit.FAILED
    assert rig.reports.kinds == ["hello", "failed", "released"]
    assert rig.reports.body("failed") == {
        "step": "reserve",
        "error": {"kind": "broken", "message": "stuck", "figures": {}},
    }
    assert rig.agent.did == ["reserve", "release"]


def test_a_reservation_without_an_answer_is_undone(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["reserve"] = ["silence"]
    assert rig.live() is Exit.FAILED
    assert rig.reports.at("failed") == 1120.0
    assert rig.agent.did == ["reserve", "release"]


def test_giving_back_is_tried_again_and_never_said_when_it_did_not_work(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["release"] = [FAILS] * 1000
    rig.stand(1100.0, end=True)
    assert rig.live() is Exit.HELD
    assert rig.reports.kinds == ["hello", "ready", "releasing", "failed"]
    assert rig.agent.did.count("release") > 100
    assert rig.agent.closed  # the end of its input is the last resort


def test_giving_back_that_works_the_second_time_is_all_right(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["release"] = [FAILS]
    rig.stand(1100.0, end=True)
    assert rig.live() is Exit.DONE
    assert rig.reports.body("released")["destroyed"] == ["vm1"]


def test_a_notice_while_giving_back_bounds_it(make: Callable[..., Rig]) -> None:
    rig = make(grace=10.0)
    rig.agent.script["release"] = ["silence"]
    rig.agent.lingers = True
    rig.stand(1100.0, end=True)
    rig.bell.at(1105.0, signal.SIGTERM)
    assert rig.live() is Exit.HELD
    assert rig.time.now <= 1105.0 + 10.0 - 1.0
    assert rig.reports.kinds[-2:] == ["signalled", "failed"]


def test_a_service_that_takes_no_report_is_not_waited_for_beyond_the_grace(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.reports.settled = False
    rig.bell.at(1100.0, signal.SIGTERM)
    assert rig.live() is Exit.DONE
    assert rig.time.now == 1128.75


def test_a_notice_while_the_last_report_is_not_taken_bounds_that_too(make: Callable[..., Rig]) -> None:
    rig = make(grace=10.0)
    rig.reports.settled = False
    rig.stand(1100.0, end=True)
    rig.bell.at(1105.0, signal.SIGTERM)
    assert rig.live() is Exit.DONE
    assert rig.time.now == 1113.75


def test_a_dead_agent_is_started_again_and_its_slot_given_back_by_the_new_one(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.bell.at(1100.0, rig.agent.die)
    rig.stand(1200.0, end=True)
    assert rig.live() is Exit.DONE
    assert rig.agent.did == ["reserve", "reserve", "release"]
    assert rig.reports.kinds.count("ready") == 2


def test_a_dead_agent_while_giving_back_is_started_again(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["release"] = [lambda _: rig.agent.die()]
    rig.stand(1100.0, end=True)
    assert rig.live() is Exit.DONE
    assert rig.agent.starts == 2
    assert rig.agent.did == ["reserve", "release", "release"]


def test_an_agent_that_keeps_dying_ends_the_slot(make: Callable[..., Rig]) -> None:
    rig = make()
    for index in range(4):
        rig.bell.at(1100.0 + index, rig.agent.die)
    assert rig.live() is Exit.FAILED
    assert "ended 4 times" in rig.reports.body("failed")["error"]["message"]
    assert rig.reports.kinds[-1] == "released"


def test_an_agent_that_dies_now_and_then_is_borne(make: Callable[..., Rig]) -> None:
    rig = make(seconds=10000.0)
    for index in range(10):
        rig.bell.at(1100.0 + index * 100, rig.agent.die)
    assert rig.live() is Exit.DONE
    assert rig.agent.starts == 11


@pytest.mark.parametrize(
    ("error", "code"),
    [(RefusedError("unknown slot"), Exit.REFUSED), (VersionError("version 2 and version 1"), Exit.VERSION)],
)
def test_a_service_that_refuses_the_pilot_ends_it(make: Callable[..., Rig], error: Any, code: Any) -> None:
    rig = make()
    rig.bell.at(1100.0, lambda: rig.mailbox.fate(error))
    assert rig.live() is code
    assert rig.agent.did == ["reserve", "release"]


def test_a_node_that_cannot_is_left_as_it_is(make: Callable[..., Rig]) -> None:
    rig = make(agent=("no-such-program",))
    assert rig.live() is Exit.NODE
    assert rig.agent.starts == 0
    assert rig.reports.kinds == ["hello", "failed", "released"]


def test_an_agent_that_dies_while_it_reserves_may_have_taken_memory(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.agent.script["reserve"] = [lambda _: rig.agent.die()]
    assert rig.live() is Exit.FAILED
    assert rig.agent.did == ["reserve", "release"]
    assert rig.agent.starts == 2
    assert rig.reports.kinds == ["hello", "failed", "released"]


def test_an_unexpected_fault_of_a_step_is_undone_too(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make()
    monkeypatch.setattr(rig.agent, "start", lambda: 1 / 0)
    assert rig.live() is Exit.FAILED
    assert "ZeroDivisionError" in rig.reports.body("failed")["error"]["message"]
    assert rig.reports.kinds[-1] == "released"


def test_an_answer_that_says_nothing_wakes_nobody(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.mailbox.heard(Answer(ack=3))
    assert rig.bell.rings == 0
    assert Kind.HELLO.value == "hello"


def _line(answer: Any) -> bytes:
    return json.dumps(answer).encode()

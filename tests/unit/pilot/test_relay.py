"""Orders down, each once; lines up, each to whom it belongs."""

import json
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.nodectl.messages import MAX_LINE, OrderName
from flyinglow.pilot.log import Log
from flyinglow.pilot.relay import Relay
from rigs.pilot_time import FakeTime

HELLO = b'{"v":1,"news":"hello","body":{"version":"0.1"}}'


class Upward:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.begun: list[tuple[str, list[dict[str, Any]]]] = []

    def begin(self, session: Any, lines: Any) -> None:
        self.begun.append((session, [json.loads(line) for line in lines]))

    def put(self, session: Any, lines: Any) -> None:
        self.lines += [(session, json.loads(line)) for line in lines]


class Rig:
    def __init__(self, clock: Any) -> None:
        self.down: list[dict[str, Any]] = []
        self.writes = 0
        self.up = Upward()
        self.rings = 0
        self.deaf = False
        self.relay = Relay(self.write, self.up, self.ring, Log(-1, clock, "t"))

    def write(self, line: bytes, seconds: float) -> None:
        if self.deaf:
            raise TransientError("the agent is not there")
        self.writes += 1
        self.down += [json.loads(one) for one in line.splitlines()]

    def ring(self) -> None:
        self.rings += 1

    def answer(self, order: dict[str, Any], **body: Any) -> None:
        self.relay.heard([json.dumps({"v": 1, "id": order["id"], "ok": True, "body": body}).encode()])


@pytest.fixture
def rig(time: FakeTime) -> Rig:
    rig = Rig(time.clock)
    rig.relay.heard([HELLO])
    rig.relay.begin("s1")
    rig.up.lines.clear()
    return rig


def order(number: int, name: str = "list", version: int = 1) -> tuple[int, dict[str, Any]]:
    return number, {"v": version, "id": number, "order": name, "tag": None, "body": {}}


def test_each_order_goes_down_once_in_the_order_of_its_number(rig: Rig) -> None:
    rig.relay.orders([order(12), order(11)])
    rig.relay.orders([order(11), order(12), order(15)])
    assert len(rig.down) == 3
    assert rig.relay.got == 15
    for down in rig.down:
        rig.answer(down)
    assert [line["id"] for _, line in rig.up.lines] == [11, 12, 15]


def test_answers_bear_the_services_own_number_in_whatever_order_they_come(rig: Rig) -> None:
    rig.relay.orders([order(11), order(12)])
    rig.answer(rig.down[1], second=True)
    rig.answer(rig.down[0])
    assert [line["id"] for _, line in rig.up.lines] == [12, 11]
    assert rig.up.lines[0][1]["body"] == {"second": True}


def test_an_answer_to_an_order_of_another_session_does_not_look_like_one_of_this(rig: Rig) -> None:
    rig.relay.orders([order(5)])
    rig.relay.begin("s2")
    rig.relay.orders([order(5)])
    assert len(rig.down) == 2  # numbers count within a session
    rig.answer(rig.down[0])
    rig.answer(rig.down[1])
    assert [session for session, _ in rig.up.lines] == ["s1", "s2"]


def test_a_session_that_comes_back_gets_nothing_done_twice(rig: Rig) -> None:
    rig.relay.orders([order(5)])
    rig.relay.begin("s2")
    rig.relay.begin("s1")
    rig.relay.orders([order(5)])
    assert len(rig.down) == 1


def test_each_session_begins_with_the_agents_hello(rig: Rig) -> None:
    rig.relay.begin("s2")
    assert rig.up.begun == [("s1", [json.loads(HELLO)]), ("s2", [json.loads(HELLO)])]


def test_news_go_up_and_wake_nobody(rig: Rig) -> None:
    before = rig.rings
    rig.relay.heard([b'{"v":1,"news":"vm","body":{"tag":"a","status":"running"}}'])
    assert rig.up.lines[-1][1]["news"] == "vm"
    assert rig.rings == before


def test_the_pilots_own_order_is_answered_to_the_pilot(rig: Rig) -> None:
    reply = rig.relay.order(OrderName.RELEASE, {"slot": "t1.0"}, 5.0)
    assert not reply.done
    rig.answer(rig.down[-1], destroyed=["a"])
    assert reply.result() == {"destroyed": ["a"]}
    assert rig.up.lines == []
    failed = rig.relay.order(OrderName.RELEASE, {"slot": "t1.0"}, 5.0)
    wrong = {"kind": "broken", "message": "no", "figures": {}}
    rig.relay.heard([json.dumps({"v": 1, "id": rig.down[-1]["id"], "ok": False, "error": wrong}).encode()])
    with pytest.raises(BrokenError, match="no"):
        failed.result()


@pytest.mark.parametrize("name", ["reserve", "release"])
def test_the_service_has_no_say_in_the_pilots_own_orders(rig: Rig, name: str) -> None:
    rig.relay.orders([order(5, name)])
    assert rig.down == []
    assert rig.up.lines[0][1]["error"]["kind"] == "conflict"
    assert rig.relay.got == 5


def test_an_order_that_the_agent_does_not_take_is_answered_by_the_pilot(rig: Rig) -> None:
    rig.deaf = True
    rig.relay.orders([order(5)])
    assert rig.up.lines[0][1] == {**rig.up.lines[0][1], "id": 5, "ok": False}
    with pytest.raises(TransientError):
        rig.relay.order(OrderName.RESERVE, {}, 1.0)


def test_what_a_dead_agent_leaves_open_is_answered(rig: Rig) -> None:
    rig.relay.orders([order(5)])
    reply = rig.relay.order(OrderName.RELEASE, {}, 1.0)
    rig.relay.lost()
    assert rig.up.lines[0][1]["error"]["kind"] == "transient"
    assert reply.done
    with pytest.raises(TransientError):
        reply.result()
    assert rig.relay.hello == {}
    rig.answer(rig.down[0])  # too late: it has been answered
    assert len(rig.up.lines) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"Welcome!", "the agent names no version, this pilot speaks versions 1 to 2: it said Welcome!"),
        (b"[]", "it said []"),
        (
            b'{"v":3,"news":"hello","body":{}}',
            "the agent speaks version 3, this pilot versions 1 to 2: upgrade this pilot",
        ),
        (b'{"v":3,"news":"hello","body":{"speaks":[3,4]}}', "the agent speaks versions 3 to 4, this pilot"),
        (b'{"v":0,"news":"hello","body":{}}', "upgrade the agent"),
        (b"[" * 100_000, "it said [[["),
    ],
    ids=range(6),
)
def test_what_is_not_of_the_protocol_is_kept_for_the_step_that_waits(rig: Rig, line: Any, words: str) -> None:
    rig.relay.heard([line])
    assert words in rig.relay.strange
    assert len(rig.relay.strange) < 400
    assert rig.up.lines == []


def test_orders_that_came_together_are_one_message_for_an_agent_that_knows_such(rig: Rig) -> None:
    rig.relay.heard([b'{"v":1,"news":"hello","body":{"version":"2","speaks":[1,2]}}'])
    rig.up.lines.clear()
    rig.relay.orders([order(11, "create", 2), order(12, "reserve", 2), order(13, "create", 2), order(14, "create", 2)])
    assert (rig.writes, [line["batch"][0]["order"] for line in rig.down]) == (1, ["create"])
    batch = rig.down[0]["batch"]
    rig.answer(batch[2], fine=3)
    rig.relay.heard([json.dumps({"v": 2, "id": batch[0]["id"], "ok": False, "error": {"kind": "broken"}}).encode()])
    rig.answer(batch[1], fine=2)
    assert [(line["id"], line["ok"]) for _, line in rig.up.lines] == [(12, False), (14, True), (11, False), (13, True)]
    rig.relay.order(OrderName.RELEASE, {"slot": "t1.0"}, 5.0)
    assert rig.down[-1]["v"] == 2


def test_an_older_agent_gets_them_as_lines_in_one_write(rig: Rig) -> None:
    rig.relay.orders([order(11, "create"), order(12, "create"), order(13, "create")])
    assert rig.writes == 1
    assert [line["v"] for line in rig.down] == [1, 1, 1]


def test_each_of_a_batch_that_the_agent_does_not_take_is_answered_by_the_pilot(rig: Rig) -> None:
    rig.deaf = True
    rig.relay.orders([order(11, "create", 2), order(12, "create", 2)])
    assert [(line["id"], line["ok"]) for _, line in rig.up.lines] == [(11, False), (12, False)]


def test_an_answer_whose_parts_are_of_another_type_is_an_error_or_empty(rig: Rig) -> None:
    reply = rig.relay.order(OrderName.RELEASE, {}, 1.0)
    rig.relay.heard([b'{"v":1,"id":%d,"ok":true,"body":[1]}' % rig.down[-1]["id"]])
    assert reply.result() == {}
    reply = rig.relay.order(OrderName.RELEASE, {}, 1.0)
    rig.relay.heard([b'{"v":1,"id":%d,"ok":false,"error":"stuck"}' % rig.down[-1]["id"]])
    with pytest.raises(BrokenError):
        reply.result()


def test_an_answer_that_no_message_could_hold_is_refused(rig: Rig) -> None:
    rig.relay.orders([order(5)])
    rig.answer(rig.down[0], data="x" * MAX_LINE)
    assert "ask for less" in rig.up.lines[0][1]["error"]["message"]


def test_answers_to_nobody_and_with_odd_numbers_are_dropped(rig: Rig) -> None:
    rig.relay.heard([b'{"v":1,"id":99,"ok":true,"body":{}}', b'{"v":1,"id":[],"ok":true}', b'{"v":1}'])
    assert rig.up.lines == []

"""The agent as a process of its own, over its pipes, with the simulated driver."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.messages import MAX_LINE
from flyinglow.nodectl.vmdir import StateDir
from rigs.node import plain_spec
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually

Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def write(**settings: Any) -> Path:
        path = tmp_path / "nodectl.json"
        plain = {"state": str(tmp_path / "state"), "driver": "simulated", "node": "n1", "watch_seconds": 0.05}
        path.write_text(json.dumps({**plain, **settings}))
        return path

    return write


def test_it_says_hello_first_and_ends_with_its_input(configure: Configure) -> None:
    agent = AgentProcess(configure())
    agent.wait(lambda message: True)
    assert agent.close() == 0
    assert agent.messages == [
        {
            "v": 1,
            "news": "hello",
            "body": {"version": "0.1.0", "node": "n1", "drivers": ["simulated"], "speaks": [1, 2]},
        }
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(configure: Configure, number: signal.Signals, tmp_path: Path) -> None:
    agent = AgentProcess(configure(simulated={"delays": {"start": 1.0}}))
    agent.order("create", "a1", **plain_spec("a1"))
    started = agent.send("start", "a1")
    eventually((tmp_path / "state/locks/a1").exists)  # what has not begun is not finished either
    agent.process.send_signal(number)
    assert agent.process.wait(120) == 0
    agent.close()
    assert agent.answer(started)["body"]["status"] == "running"


def test_bad_lines_are_answered_and_harm_nobody(configure: Configure) -> None:
    bad = {
        b"no json": "not JSON",
        b"[1]": "JSON object",
        b'{"v": 3, "id": 101, "order": "list"}': "speaks version 3, this node's program versions 1 to 2: upgrade this",
        b'{"v": 0, "id": 101, "order": "list"}': "upgrade whoever gives the order",
        b'{"v": true, "id": 101, "order": "list"}': "names no version",
        b'{"v": 1, "id": 108, "batch": []}': "a batch is",
        b'{"v": 2, "id": 109, "batch": {"id": 1}}': "a batch is",
        b'{"v": 2, "batch": [7]}': "JSON object",
        b'{"v": 2, "batch": [{"id": 110, "order": "jump", "tag": "a1"}]}': "no order 'jump'",
        b'{"v": 2, "id": 111, "order": "cancel", "tag": "a1", "body": {"order": "fly"}}': "no order 'fly' to be",
        b'{"v": 2, "id": 112, "order": "cancel", "tag": "../a", "body": {"order": "create"}}': "a tag is",
        b'{"v": 1, "id": 102, "order": "dance"}': "no order 'dance'",
        b'{"v": 1, "id": 103, "order": []}': "no order",
        b'{"v": 1, "id": 104, "order": "info"}': "needs the tag",
        b'{"v": 1, "id": 105, "order": "info", "tag": "../../etc"}': "a tag is",
        b'{"v": 1, "id": 106, "order": "start", "tag": "a1", "body": 7}': "JSON object",
        b'{"v": 1, "id": 107, "order": "create", "tag": "a1", "body": {"tag": "a1"}}': "specification",
        b"\xff\xfe": "not JSON",
        b"[" * 100_000: "not JSON",
        b"x" * (MAX_LINE + 10): "more than",
    }
    with AgentProcess(configure()) as agent:
        for line, words in bad.items():
            agent.write(line + b"\n")

            def refused(message: dict[str, Any], words: str = words) -> bool:
                error = message.get("error", {})
                return error.get("kind") == "invalid" and words in error["message"]

            agent.wait(refused)
        assert agent.order("list") == {"vms": []}


def test_different_vms_at_once_one_vm_in_sequence(configure: Configure) -> None:
    with AgentProcess(configure(simulated={"delays": {"create": 0.2, "start": 1.0}})) as agent:
        numbers = []
        for n in range(8):
            numbers += [agent.send("create", f"vm{n}", **plain_spec(f"vm{n}")), agent.send("start", f"vm{n}")]
        assert all(agent.answer(number)["ok"] for number in numbers)
        told = [message["id"] for message in agent.messages if message.get("id") in numbers]
        creates, starts = numbers[::2], numbers[1::2]
        assert max(map(told.index, creates)) < min(map(told.index, starts))  # one after the other: c s c s
        statuses = [vm["status"] for vm in agent.order("list")["vms"]]
        assert statuses == ["running"] * 8


def test_a_crowd_without_delays_is_quick(configure: Configure) -> None:
    with AgentProcess(configure()) as agent:
        agent.order("list")
        begin = time.monotonic()
        tags = [f"vm{n}" for n in range(256)]
        numbers = [agent.send("create", tag, **plain_spec(tag)) for tag in tags]
        numbers += [agent.send("start", tag) for tag in tags]
        assert all(agent.answer(number)["ok"] for number in numbers)
        assert time.monotonic() - begin < 60  # some hundredths of that on an idle machine
        assert len(agent.order("list")["vms"]) == 256


def test_failures_travel_with_their_kind(configure: Configure) -> None:
    failures = [{"order": "start", "match": "wn*", "kind": "exhausted", "message": "no memory", "times": 1}]
    with AgentProcess(configure(simulated={"failures": failures})) as agent:
        agent.order("create", "a1", **plain_spec("a1", name="wn-1"))
        answer = agent.answer(agent.send("start", "a1"))
        assert answer["error"] == {"kind": "exhausted", "message": "no memory", "figures": {}}
        assert agent.order("start", "a1")["status"] == "running"


def test_news_of_a_vm_that_gets_ready_and_then_dies(configure: Configure) -> None:
    simulated = {"delays": {"ready": 1.0}, "exits": [{"match": "a1", "seconds": 3.0}]}
    with AgentProcess(configure(simulated=simulated)) as agent:
        agent.order("create", "a1", **plain_spec("a1"))
        assert not agent.order("start", "a1")["ready"]
        assert agent.news("a1", ready=True)["status"] == "running"
        assert "died" in agent.news("a1", status="broken")["reason"]


def test_vms_outlive_their_agent_and_the_next_one_watches_them(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    agent = AgentProcess(config)
    agent.order("create", "a1", **plain_spec("a1"))
    agent.order("start", "a1")
    agent.kill()
    with AgentProcess(config) as other:
        assert [vm["status"] for vm in other.order("list")["vms"]] == ["running"]
        vm = StateDir(tmp_path / "state", tmp_path / "run").vm("a1")
        record = vm.record()
        assert record is not None
        vm.update(record, simulated={**record.simulated, "exit_at": 0.0})
        other.news("a1", status="broken")


def test_a_batch_is_answered_order_by_order(configure: Configure) -> None:
    with AgentProcess(configure()) as agent:
        orders = [
            {"id": 50 + at, "order": "create", "tag": tag, "body": plain_spec(tag)} for at, tag in enumerate("abc")
        ]
        orders[1]["body"] = {**plain_spec("b"), "memory_mb": 0}
        agent.write(json.dumps({"v": 2, "batch": orders}).encode() + b"\n")
        answers = [agent.answer(50 + at) for at in range(3)]
        assert [answer["ok"] for answer in answers] == [True, False, True]
        assert "memory_mb" in answers[1]["error"]["message"]
        assert {answer["v"] for answer in answers} == {2}
        assert [vm["tag"] for vm in agent.order("list")["vms"]] == ["a", "c"]


def test_an_unknown_field_is_refused_only_when_it_asks_for_something(configure: Configure) -> None:
    with AgentProcess(configure()) as agent:
        nothing: dict[str, Any] = {"watchdog": None, "colour": "", "wings": [], "limits": {}, "fast": False}
        assert agent.order("create", "a1", **plain_spec("a1"), **nothing)["status"] == "created"
        asked = agent.answer(agent.send("create", "a2", **plain_spec("a2"), watchdog="on"))
        assert "'watchdog' is unknown to this version" in asked["error"]["message"]
        zero = agent.answer(agent.send("create", "a2", **plain_spec("a2"), wings=0))
        assert "'wings'" in zero["error"]["message"]  # a number may mean anything


def test_what_is_taken_back_before_its_turn_is_not_done(configure: Configure, tmp_path: Path) -> None:
    with AgentProcess(configure(simulated={"delays": {"create": 1.0}})) as agent:
        agent.send("create", "a1", **plain_spec("a1"))
        eventually((tmp_path / "state/locks/a1").exists)
        again = agent.send("create", "a1", **plain_spec("a1"))
        cancelled = agent.send("cancel", "a1", order="create")
        assert agent.answer(cancelled)["body"] == {}
        assert agent.answer(again)["error"]["kind"] == "conflict"
        assert "taken back" in agent.answer(again)["error"]["message"]

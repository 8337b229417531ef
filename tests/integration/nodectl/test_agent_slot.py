"""A slot held by an agent that is a process of its own: signals, the end of its input, its death, other agents."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rigs.node import plain_spec
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually

Configure = Callable[..., Path]
LRM_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"]
SLOT = {"slot": "k3.0", "memory_mb": 300, "cpus": 2}


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def write(**settings: Any) -> Path:
        path = tmp_path / "nodectl.json"
        plain = {"state": str(tmp_path / "state"), "run": str(tmp_path / "run"), "driver": "simulated", "node": "n1"}
        memory = {"memory": "simulated", "memory_mb": 1000, "cpus": 4, "watch_seconds": 0.05}
        path.write_text(json.dumps({**plain, **memory, **settings}))
        return path

    return write


def command(config: Path, *words: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "flyinglow.nodectl", "--config", str(config), "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def own_mb(config: Path) -> int:
    figure: int = command(config, "status")["memory"]["actual_mb"]
    return figure


def refused(agent: AgentProcess, order: str, tag: str | None = None, /, **body: Any) -> dict[str, Any]:
    error: dict[str, Any] = agent.answer(agent.send(order, tag, **body))["error"]
    return error


def make(agent: AgentProcess, tag: str, **changes: Any) -> None:
    agent.order("create", tag, **plain_spec(tag, **changes))
    agent.order("start", tag)


def test_a_slots_life(configure: Configure) -> None:
    config = configure(simulated={"memory": {"settle": 0.1}})
    with AgentProcess(config) as agent:
        info = agent.order("reserve", **SLOT)
        assert (info["base_mb"], info["target_mb"], info["actual_mb"], info["settled"]) == (1000, 700, 700, True)
        assert info["seconds"] >= 0.1
        make(agent, "a1")
        found = command(config, "status")
        assert found["memory"] == {
            "driver": "simulated",
            "base_mb": 1000,
            "target_mb": 700,
            "actual_mb": 700,
            "minimum_mb": 256,
            "settled": True,
        }
        assert [(slot["slot"], slot["alive"], slot["vms"]) for slot in found["slots"]] == [("k3.0", True, ["a1"])]
        assert [vm["slot"] for vm in found["vms"]] == ["k3.0"]
        released = agent.order("release", slot="k3.0")
        assert released["destroyed"] == ["a1"]
        assert (released["actual_mb"], released["settled"]) == (1000, True)
        assert agent.order("release", slot="k3.0")["destroyed"] == []
        assert agent.order("list") == {"vms": []}
        assert agent.order("reserve", **SLOT)["settled"]
    assert command(config, "status")["slots"] == []
    assert own_mb(config) == 1000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "not a slot's specification"),
        ({**SLOT, "colour": 1}, "not a slot's specification"),
        ({**SLOT, "policy": "most"}, "not a slot's specification"),
        ({**SLOT, "slot": "../../x"}, "a slot's id"),
        ({**SLOT, "slot": 7}, "a slot's id"),
        ({**SLOT, "slot": "x" * 65}, "a slot's id"),
        ({**SLOT, "memory_mb": 0}, "memory_mb"),
        ({**SLOT, "memory_mb": True}, "memory_mb"),
        ({**SLOT, "cpus": "2"}, "cpus"),
        ({**SLOT, "margin_mb": -1}, "margin_mb"),
    ],
)
def test_what_is_no_slot_is_refused(configure: Configure, body: dict[str, Any], words: str) -> None:
    with AgentProcess(configure()) as agent:
        error = refused(agent, "reserve", **body)
        assert error["kind"] == "invalid"
        assert words in error["message"]
        assert refused(agent, "release")["kind"] == "invalid"
        assert agent.order("list") == {"vms": []}


def test_too_much_is_refused_with_figures_and_changes_nothing(configure: Configure) -> None:
    config = configure()
    with AgentProcess(config) as agent:
        error = refused(agent, "reserve", **{**SLOT, "memory_mb": 745})
        assert (error["kind"], error["figures"]["memory_mb.free"]) == ("exhausted", 744)
        assert refused(agent, "reserve", **{**SLOT, "cpus": 5})["figures"] == {"cpus.asked": 5, "cpus.free": 4}
        assert agent.order("reserve", **SLOT)["memory_mb"] == 300
        assert refused(agent, "reserve", **{**SLOT, "slot": "k4.0"})["kind"] == "conflict"
        assert own_mb(config) == 700


def test_vms_must_fit_into_their_slot_all_together(configure: Configure) -> None:
    with AgentProcess(configure(vm_overhead_mb=20)) as agent:
        agent.order("reserve", **SLOT)
        make(agent, "a1", memory_mb=180)
        error = refused(agent, "create", "b1", **plain_spec("b1", memory_mb=81))
        assert (error["kind"], error["figures"]) == ("exhausted", {"memory_mb.asked": 101, "memory_mb.free": 100})
        make(agent, "b1", memory_mb=40)
        error = refused(agent, "create", "c1", **plain_spec("c1", memory_mb=1))
        assert error["figures"] == {"cpus.asked": 1, "cpus.free": 0}
        agent.order("destroy", "b1")
        many = [agent.send("create", f"d{n}", **plain_spec(f"d{n}", memory_mb=80)) for n in range(8)]
        assert [agent.answer(number)["ok"] for number in many].count(True) == 1
        assert [vm["status"] for vm in agent.order("list")["vms"]] == ["running", "created"]


def test_two_slots_of_one_node_do_not_see_each_other(configure: Configure) -> None:
    """Giving one slot back must not touch the other one's VMs."""
    config = configure()
    with AgentProcess(config) as one, AgentProcess(config) as two, AgentProcess(config) as plain:
        one.order("reserve", **{**SLOT, "slot": "one"})
        two.order("reserve", **{**SLOT, "slot": "two"})
        make(one, "a1")
        make(two, "b1")
        make(plain, "c1")
        for agent, tag in ((one, "a1"), (two, "b1"), (plain, "c1")):
            assert [vm["tag"] for vm in agent.order("list")["vms"]] == [tag]
        for order in ("info", "start", "shutdown", "console"):
            assert refused(one, order, "b1")["kind"] == "unknown"
            assert refused(plain, order, "a1")["kind"] == "unknown"
        one.order("destroy", "b1")
        assert refused(one, "create", "b1", **plain_spec("b1"))["kind"] == "conflict"
        assert refused(two, "release", slot="one")["kind"] == "denied"
        assert refused(two, "reserve", **{**SLOT, "slot": "one"})["kind"] == "conflict"
        assert one.order("release", slot="one")["destroyed"] == ["a1"]
        assert two.order("info", "b1")["status"] == "running"
        assert plain.order("info", "c1")["status"] == "running"
    assert [vm["tag"] for vm in command(config, "list")["vms"]] == ["c1"]


@pytest.mark.parametrize("times", [1, 300])
def test_it_is_deaf_to_the_batch_system(configure: Configure, times: int) -> None:
    config = configure()
    with AgentProcess(config) as agent:
        agent.order("reserve", **SLOT)
        make(agent, "a1")
        for _ in range(times):
            for name in LRM_SIGNALS:
                agent.process.send_signal(getattr(signal, name))
        assert agent.order("info", "a1")["status"] == "running"
        assert agent.order("release", slot="k3.0")["destroyed"] == ["a1"]
    assert own_mb(config) == 1000


@pytest.mark.parametrize("name", LRM_SIGNALS)
def test_it_is_deaf_while_memory_is_on_its_way(configure: Configure, name: str) -> None:
    with AgentProcess(configure(simulated={"memory": {"settle": 0.4}})) as agent:
        number = agent.send("reserve", **SLOT)
        agent.wait(lambda message: message.get("news") == "hello")
        time.sleep(0.1)
        agent.process.send_signal(getattr(signal, name))
        assert agent.answer(number)["body"]["settled"]


@pytest.mark.parametrize("memory", ["simulated", "accounted"])
def test_a_client_that_goes_away_leaves_nothing(configure: Configure, memory: str) -> None:
    """Where nothing is shrunk the VMs are ended all the same."""
    config = configure(memory=memory)
    agent = AgentProcess(config)
    agent.order("reserve", **SLOT)
    make(agent, "a1")
    make(agent, "b1")
    agent.send("pause", "b1")
    assert agent.close() == 0
    found = command(config, "status")
    assert (found["slots"], found["vms"], found["memory"]["actual_mb"]) == ([], [], 1000)


def test_a_client_that_goes_away_while_memory_moves_leaves_nothing(configure: Configure) -> None:
    config = configure(simulated={"memory": {"settle": 0.3}})
    agent = AgentProcess(config)
    agent.wait(lambda message: message.get("news") == "hello")
    agent.send("reserve", **SLOT)
    assert agent.close() == 0
    assert own_mb(config) == 1000
    assert not (config.parent / "state/slots.json").exists()


@pytest.mark.parametrize("repair", ["reserve", "agent", "tidy", "kill-all"])
def test_what_a_killed_agent_leaves_is_repaired(configure: Configure, repair: str) -> None:
    """Its reports may have failed on every channel, or nobody be there to get them: the node must not stay shrunk."""
    config = configure()
    agent = AgentProcess(config)
    agent.order("reserve", **SLOT)
    make(agent, "a1")
    agent.kill()
    assert own_mb(config) == 700
    with AgentProcess(config) if repair in {"reserve", "agent"} else open(os.devnull) as other:  # noqa: PTH123
        if repair == "reserve":
            assert isinstance(other, AgentProcess)
            assert other.order("reserve", **{**SLOT, "memory_mb": 700})["target_mb"] == 300
        elif repair == "agent":
            eventually(lambda: not command(config, "status")["slots"])
        else:
            assert command(config, repair)["slots"] == ["k3.0"]
            assert command(config, repair)["slots"] == []
        assert command(config, "list")["vms"] == []
    assert own_mb(config) == 1000


def test_tidy_leaves_living_slots_alone(configure: Configure) -> None:
    config = configure()
    with AgentProcess(config) as lives:
        lives.order("reserve", **{**SLOT, "slot": "lives"})
        make(lives, "a1")
        dead = AgentProcess(config)
        dead.order("reserve", **{**SLOT, "slot": "dead"})
        make(dead, "b1")
        dead.kill()
        assert command(config, "tidy") == {"slots": ["dead"], "strangers": [], "failed": []}
        assert lives.order("info", "a1")["status"] == "running"
        assert own_mb(config) == 700


def test_kill_all_takes_slots_from_living_agents(configure: Configure) -> None:
    config = configure()
    agent = AgentProcess(config)
    agent.order("reserve", **SLOT)
    make(agent, "a1")
    answer = command(config, "kill-all")
    assert answer == {"destroyed": ["a1"], "failed": [], "slots": ["k3.0"], "memory_mb": 1000}
    assert agent.process.wait(120) == -signal.SIGKILL
    agent.close()
    assert command(config, "kill-all") == {"destroyed": [], "failed": [], "slots": [], "memory_mb": 1000}


def test_kill_all_does_not_wait_for_a_lock(configure: Configure) -> None:
    config = configure(simulated={"delays": {"pause": 200.0}})
    agent = AgentProcess(config)
    make(agent, "a1")
    agent.send("pause", "a1")
    eventually((config.parent / "state/locks/a1").exists)
    begin = time.monotonic()
    assert command(config, "kill-all")["destroyed"] == ["a1"]
    assert time.monotonic() - begin < 150
    agent.kill()


def test_several_clients_take_slots_at_once_and_no_more_than_there_is(configure: Configure) -> None:
    config = configure(simulated={"memory": {"settle": 0.3}})
    agents = [AgentProcess(config) for _ in range(4)]
    numbers = [agent.send("reserve", **{**SLOT, "slot": f"s{n}", "cpus": 1}) for n, agent in enumerate(agents)]
    answers = [agent.answer(number) for agent, number in zip(agents, numbers, strict=True)]
    assert [answer["ok"] for answer in answers].count(True) == 2  # 300 each of 1000, and 256 stay
    assert own_mb(config) == 400
    for agent in agents:
        assert agent.close() == 0
    assert own_mb(config) == 1000


def test_nothing_is_made_outside_of_a_slot_by_who_asked_for_one(configure: Configure) -> None:
    config = configure()
    with AgentProcess(config) as plain, AgentProcess(config) as agent:
        make(plain, "z1")
        assert refused(agent, "reserve", **{**SLOT, "memory_mb": 900})["kind"] == "exhausted"
        assert refused(agent, "create", "a1", **plain_spec("a1"))["kind"] == "conflict"
        assert agent.order("list") == {"vms": []}
        assert refused(agent, "info", "z1")["kind"] == "unknown"

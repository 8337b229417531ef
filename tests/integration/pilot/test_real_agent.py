"""The pilot with the node's real agent, on the simulated hypervisor."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rigs.node import plain_spec
from rigs.pilot_site import Site
from rigs.waiting import eventually

MEMORY = 4096


@pytest.fixture
def nodectl(site: Site, tmp_path: Path) -> list[str]:
    """A node of its own; the words by which its program is started, which are the agent's, too."""
    config = tmp_path / "nodectl.json"
    plain = {"state": str(tmp_path / "state"), "run": str(tmp_path / "run"), "driver": "simulated", "node": "n1"}
    simulated = {"memory": {"settle": 0.2}}
    memory = {"memory": "simulated", "memory_mb": MEMORY, "cpus": 4, "simulated": simulated}
    config.write_text(json.dumps({**plain, **memory}))
    words = [sys.executable, "-m", "flyinglow.nodectl", "--config", str(config)]
    site.settings = _with_agent(site.settings, (*words, "agent", "--stdio"))
    return words


def _with_agent(settings: Any, agent: tuple[str, ...]) -> Any:
    from dataclasses import replace

    return replace(settings, agent=("env", f"PYTHONPATH={Path(__file__).parents[3] / 'src'}", *agent))


def status(words: list[str]) -> Any:
    done = subprocess.run([*words, "--json", "status"], capture_output=True, text=True, timeout=180, check=True)
    return json.loads(done.stdout)


def order(site: Site, name: str, tag: str | None, /, **body: Any) -> dict[str, Any]:
    answer = site.service.answer_to("t1.0", site.service.order("t1.0", name, tag, **body))
    assert answer["ok"], answer
    found: dict[str, Any] = answer["body"]
    return found


def test_memory_is_taken_vms_run_and_all_is_given_back(site: Site, nodectl: list[str]) -> None:
    pilot = site.start()
    ready = site.service.report("t1.0", "ready").body
    assert (ready["base_mb"], ready["target_mb"], ready["actual_mb"]) == (MEMORY, MEMORY - 1024, MEMORY - 1024)
    order(site, "create", "a1", **plain_spec("a1"))
    order(site, "start", "a1")
    pilot.signal(signal.SIGTERM)
    site.service.report("t1.0", "signalled")
    assert [vm["tag"] for vm in order(site, "list", None)["vms"]] == ["a1"]
    site.service.stand("t1.0", end=True)
    released = site.service.report("t1.0", "released").body
    assert (released["destroyed"], released["restored_mb"]) == (["a1"], 1024)
    assert pilot.exit() == 0, pilot.log
    now = status(nodectl)
    assert (now["memory"]["actual_mb"], now["slots"], now["vms"]) == (MEMORY, [], [])


def test_a_killed_pilot_leaves_nothing_behind(site: Site, nodectl: list[str]) -> None:
    pilot = site.start()
    site.service.report("t1.0", "ready")
    order(site, "create", "a1", **plain_spec("a1"))
    order(site, "start", "a1")
    pilot.signal(signal.SIGKILL)
    eventually(lambda: status(nodectl)["slots"] == [])
    eventually(lambda: status(nodectl)["memory"]["actual_mb"] == MEMORY)
    assert status(nodectl)["vms"] == []


def test_a_killed_agent_is_replaced_and_its_vms_are_gone(site: Site, nodectl: list[str]) -> None:
    pilot = site.start()
    site.service.report("t1.0", "ready")
    order(site, "create", "a1", **plain_spec("a1"))
    os.kill(status(nodectl)["slots"][0]["pid"], signal.SIGKILL)
    site.service.wait(lambda: len(site.service.stored("t1.0", "ready")) == 2)
    assert order(site, "list", None)["vms"] == []
    site.service.stand("t1.0", end=True)
    assert pilot.exit() == 0, pilot.log
    assert status(nodectl)["memory"]["actual_mb"] == MEMORY


def test_more_than_the_node_can_give_fails_and_says_the_figures(site: Site, nodectl: list[str]) -> None:
    pilot = site.start(slots=({"memory_mb": MEMORY, "cpus": 1},))
    error = site.service.report("t1.0", "failed").body["error"]
    assert error["kind"] == "exhausted"
    assert error["figures"]["memory_mb.asked"] == MEMORY
    assert pilot.exit() == 4, pilot.log
    assert site.service.kinds("t1.0")[-1] == "released"


def test_two_pilots_of_one_node_keep_to_their_own(site: Site, nodectl: list[str]) -> None:
    first = site.start(grace=30.0, share=0.01)
    site.service.report("t1.0", "ready")
    second = site.start(job="t2")
    ready = site.service.report("t2.0", "ready").body
    assert ready["target_mb"] == MEMORY - 2048
    number = site.service.order("t2.0", "create", "b1", **plain_spec("b1"))
    assert site.service.answer_to("t2.0", number)["ok"]
    order(site, "create", "a1", **plain_spec("a1"))
    first.signal()
    assert site.service.report("t1.0", "released").body["destroyed"] == ["a1"]
    assert first.exit() == 0, first.log
    now = status(nodectl)
    assert [vm["tag"] for vm in now["vms"]] == ["b1"]
    assert now["memory"]["actual_mb"] == MEMORY - 1024
    site.service.stand("t2.0", end=True)
    assert second.exit() == 0, second.log
    assert status(nodectl)["memory"]["actual_mb"] == MEMORY

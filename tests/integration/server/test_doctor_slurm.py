"""``flyinglow doctor --job`` on a real Slurm: what it measures, what it names, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.lrm_service import LrmService, slurm_service
from rigs.unprivileged import wrapped

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("slurm-doctor")]
KILL_WAIT = 5


@pytest.fixture(scope="module")
def service() -> Iterator[LrmService]:
    options = {"grace": 4, "margin": 40}
    with slurm_service(nodes=1, world={"kill_wait": KILL_WAIT}, options=options, start=False) as made:
        yield made


def doctor(service: LrmService, *words: str, config: Path | None = None) -> dict[str, dict[str, Any]]:
    """Run the doctor on the head as the service's user; return its findings by name."""
    root = service.lrm_site.root
    argv = [sys.executable, "-m", "flyinglow.cli", "doctor", "--json", "--config", str(config or service.lrm_site.config)]
    coverage = os.environ.get("COVERAGE_FILE")
    exposed = [root, *([Path(coverage).parent] if coverage else [])]
    env = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    done = service.world.run_in_head(wrapped([*argv, *words], *exposed), env=env, check=False, seconds=120)
    assert done.stdout, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


def wrong(found: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, each in found.items() if not each["ok"]]


def jobs(service: LrmService) -> str:
    return str(service.world.run_in_head(["squeue", "--noheader", "--format=%j %u %T"]).stdout)


def test_without_the_word_nothing_is_submitted(service: LrmService) -> None:
    found = doctor(service)
    assert found["scheduler"]["detail"].startswith("Slurm 2")
    assert found["queue"]["detail"].startswith("batch: 1 nodes, the largest 2000 MB and 2 CPUs; jobs without a limit")
    assert "the scheduler grants 5 s" in found["grace"]["detail"]
    assert "without TLS" in found["node listener"]["detail"]
    assert "nodes" not in found
    assert found["scheduler's setup"]["detail"].startswith("KillWait is 5 s")
    assert jobs(service) == ""


def test_a_job_measures_what_no_configuration_tells(service: LrmService) -> None:
    found = doctor(service, "--job")
    assert wrong(found) == ["scheduler's setup"], found  # KillWait is short here, which keeps the test short
    assert "node1: /usr/bin/python3 is Python 3." in found["interpreter"]["detail"]
    assert found["agent through sudo"]["detail"].startswith("node1: version")
    assert found["service from a node"]["ok"]
    seconds = float(found["cancel grace"]["detail"].partition(" s ")[0])
    assert KILL_WAIT - 0.7 < seconds < KILL_WAIT + 3
    assert "from SIGTERM to SIGKILL; configured are 4 s" in found["cancel grace"]["detail"]
    assert jobs(service) == ""
    assert not list(Path(service.world.jobs).glob("fl-d*.log"))
    assert service.clean_nodes() == []

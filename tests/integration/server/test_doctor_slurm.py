"""``flyinglow doctor --job`` on a real Slurm: what it measures, what it names, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.doctor import doctor, wrong
from rigs.lrm_service import LrmService, slurm_service

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("slurm-doctor")]
KILL_WAIT = 5


@pytest.fixture(scope="module")
def service() -> Iterator[LrmService]:
    options = {"grace": 4, "margin": 40}
    with slurm_service(nodes=1, world={"kill_wait": KILL_WAIT}, options=options, start=False) as made:
        yield made


def jobs(service: LrmService) -> str:
    world: Any = service.world
    return str(world.run_in_head(["squeue", "--noheader", "--format=%j %u %T"]).stdout)


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
    assert KILL_WAIT - 0.7 < seconds < KILL_WAIT + 60
    assert "from SIGTERM to SIGKILL; configured are 4 s" in found["cancel grace"]["detail"]
    assert jobs(service) == ""
    assert not list(Path(service.world.jobs).glob("fl-d*.log"))
    assert service.clean_nodes() == []


def test_what_is_wrong_on_a_node_is_named_beside_a_service_that_runs(service: LrmService) -> None:
    text = service.lrm_site.config.read_text()
    changed = text.replace("grace = 4", "grace = 30").replace('"agent", "--stdio"', '"agent"')
    assert changed.count("grace = 30") == 1
    config = service.lrm_site.root / "wrong.toml"
    config.write_text(changed)
    service.start()
    found = doctor(service, "--job", config=config)
    service.stop()
    assert {"grace", "agent through sudo", "cancel grace"} <= set(wrong(found)), found
    assert "password is required" in found["agent through sudo"]["detail"]
    assert "flyinglow-nodectl sudoers" in found["agent through sudo"]["fix"]
    assert "KillWait" in found["cancel grace"]["fix"]
    assert found["service from a node"]["detail"] == "node1 reaches http://10.77.0.1:8481/pilot/1"
    assert found["end of the job"]["ok"]


def test_a_job_that_says_nothing_is_ended_and_its_log_is_named(service: LrmService) -> None:
    config = service.lrm_site.root / "deaf.toml"
    text = service.lrm_site.config.read_text()
    config.write_text(text.replace("[backend.options]", '[backend.options]\ninterpreter = "/usr/bin/python-of-old"'))
    found = doctor(service, "--job", config=config)
    assert "ended by itself before it said anything" in found["job"]["detail"]
    log = Path(found["job"]["fix"].rpartition(" ")[2])
    assert "python-of-old" in log.read_text()
    assert jobs(service) == ""

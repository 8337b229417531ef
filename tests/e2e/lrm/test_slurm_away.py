"""A service that is killed in some phase of a lease on a real Slurm and started again brings it to its right end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.lease_story import Story, calm, dismiss, for_all, hog, listed, mine, only, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-away")

GRACE = 60
SHARE = 0.05  # of the grace, for which pilots wait for the service
SLOW = """#!/bin/sh
[ -e {file}.slow ] || exec /usr/bin/sbatch "$@"
/usr/bin/sbatch "$@" > {file}.accepted
exec sleep 600
"""


@pytest.fixture(scope="module")
def sbatch() -> Iterator[Path]:
    """Give a script before sbatch that, while FILE.slow is there, hands the job over and never says so."""
    with for_all() as directory:
        directory.chmod(0o1777)
        file = directory / "sbatch"
        file.write_text(SLOW.format(file=file))
        file.chmod(0o755)
        yield file


@pytest.fixture(scope="module")
def cluster(sbatch: Path) -> Iterator[LrmService]:
    """Give a service whose VMs take a moment to come up, so that it can be killed while they do."""
    options = {"grace": GRACE, "share": SHARE, "commands": {"sbatch": str(sbatch)}, "poll": 0.5}
    nodectl = {"simulated": {"delays": {"create": 1.0}}}
    with slurm_service(world={"kill_wait": GRACE}, options=options, nodectl=nodectl) as made:
        yield made


@pytest.fixture
def service(cluster: LrmService) -> Iterator[LrmService]:
    """Give the module's service, up."""
    yield cluster
    tidy(cluster)


def again(service: LrmService, seconds: float = 1.0) -> None:
    """Kill the service, and start it after so many seconds."""
    service.kill()
    time.sleep(seconds)
    service.start()


def lives(service: LrmService, story: Story, nodes: int) -> None:
    """See the lease run on one job, and end with everything given back."""
    assert len(set(story.running())) == nodes
    assert len(mine(service)) == 1
    story.lease.whole.destroy()
    calm(service)


def test_killed_before_it_knows_that_the_job_was_accepted(service: LrmService, sbatch: Path) -> None:
    slow, accepted = Path(f"{sbatch}.slow"), Path(f"{sbatch}.accepted")
    slow.touch()
    with telling(service, part(2), name="accepted") as story:
        service.wait(lambda: accepted.exists() and accepted.read_text().strip(), "the job's acceptance")
        slow.unlink()
        again(service)
        lives(service, story, 2)


def test_killed_while_the_job_waits(service: LrmService) -> None:
    ahead = hog(service, 300, "-N4", "-n4", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="waits") as story:
        story.waits("waits in the batch scheduler")
        service.kill()
        slurm(service).run_in_head(["scancel", ahead])  # so that its pilots start while nobody listens
        service.wait(lambda: any("RUNNING" in line for line in mine(service)), "the job's start")
        service.start()
        lives(service, story, 2)


def test_killed_while_the_pilots_start(service: LrmService) -> None:
    with telling(service, part(4), name="pilots") as story:
        only(service, over=False, state="Started")
        again(service)
        lives(service, story, 4)


def test_killed_while_vms_are_launched(service: LrmService) -> None:
    with telling(service, part(4), name="vms") as story:
        story.hear(lambda news: news.task == "Launching" or news.state == "Propagated", "the launch")
        again(service)
        lives(service, story, 4)


def test_killed_while_the_lease_runs(service: LrmService) -> None:
    with telling(service, part(2), name="runs") as story:
        nodes = story.running()
        again(service, 3.0)
        assert story.lease.whole.properties().state == "Running"
        assert [len(service.status(node)["vms"]) for node in nodes] == [1, 1]
        lives(service, story, 2)


def test_killed_while_the_nodes_are_taken_back(service: LrmService) -> None:
    with telling(service, part(2), name="taken") as story:
        story.running()
        job = story.job
        slurm(service).run_in_head(["scancel", job["id"]])
        story.warning()
        again(service)
        assert "was cancelled" in story.cancelled()
    calm(service)


def test_the_pilots_give_everything_back_in_time_while_the_service_is_away(service: LrmService) -> None:
    with telling(service, part(2), name="alone") as story:
        story.running()
        job = story.job
        service.kill()
        began = time.monotonic()
        slurm(service).run_in_head(["scancel", job["id"]])
        service.wait(lambda: not service.clean_nodes(), "the nodes' memory")
        assert time.monotonic() - began < GRACE - 1
        dismiss(service)
        service.start()
        assert job["id"] in story.cancelled()
    calm(service)

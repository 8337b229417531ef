"""What becomes of leases when parts of a real Grid Engine fail, or it ends a job at a limit that we do not know of."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.lease_story import part, telling
from rigs.lrm_queues import GridEngineQueue, calm, tidy
from rigs.lrm_service import LrmService, gridengine_service

pytestmark = pytest.mark.xdist_group("gridengine-faults")

NOTIFY = 20
SHARE = 0.05  # of the notice, for which pilots wait for the service
SHORT = 60  # seconds; what the site's own rule makes of a job's limit while there is the file beside qsub
QSUB = """#!/bin/sh
[ -e {file}.short ] || exec qsub "$@"
exec qsub "$@" -l h_rt={seconds}
"""


@pytest.fixture(scope="module")
def qsub() -> Iterator[Path]:
    """Give a script before qsub that, like a site's verifier of jobs, can shorten them."""
    with tempfile.TemporaryDirectory(prefix="fl-qsub-") as name:
        file = Path(name, "qsub")
        file.parent.chmod(0o755)
        file.write_text(QSUB.format(file=file, seconds=SHORT))
        file.chmod(0o755)
        yield file


@pytest.fixture(scope="module")
def cluster(qsub: Path) -> Iterator[LrmService]:
    """Give a service on three nodes."""
    options = {"grace": NOTIFY, "share": SHARE, "command_timeout": 20.0, "commands": {"qsub": str(qsub)}}
    with gridengine_service(nodes=3, world={"notify": NOTIFY}, options=options) as made:
        yield made


@pytest.fixture(scope="module")
def queue(cluster: LrmService) -> GridEngineQueue:
    """Give Grid Engine's own list of jobs."""
    return GridEngineQueue(cluster)


@pytest.fixture
def service(cluster: LrmService, queue: GridEngineQueue) -> Iterator[LrmService]:
    """Give the module's service, with all nodes idle; what a test leaves behind is ended."""
    cluster.world.wait_idle()
    yield cluster
    tidy(cluster, queue)
    if not cluster.serving:  # a test failed while it had the service down
        cluster.start()


@pytest.mark.full  # a limit that Slurm ends a lease at, and this notice, have tests by default
def test_a_limit_that_the_site_shortened_ends_the_lease_with_notice(
    service: LrmService, queue: GridEngineQueue, qsub: Path
) -> None:
    short = Path(f"{qsub}.short")
    short.touch()
    with telling(service, part(2), name="limit") as story:
        story.running()
        short.unlink()
        warned = story.warning()
        assert "reached its time limit" in warned.reason
        assert warned.seconds is not None
        assert 0 <= warned.seconds <= NOTIFY / 2
        assert "reached its time limit" in story.cancelled()
        service.wait(lambda: not service.clean_nodes(), "everything given back")
    calm(service, queue)


def test_a_first_host_that_crashes_ends_the_lease_and_serves_again_when_it_is_back(
    service: LrmService, queue: GridEngineQueue
) -> None:
    with telling(service, part(2), name="crash-first") as story:
        story.running()
        node = master(service, story.job["id"])
        service.world.crash(node)
        service.world.boot(node)
        assert "was lost: the batch scheduler does not list the job any more" in story.cancelled()
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
    serves_again(service, queue, node)


@pytest.mark.full
def test_another_host_that_crashes_stays_in_the_job_until_the_operator_deletes_it(
    service: LrmService, queue: GridEngineQueue
) -> None:
    """Grid Engine itself lists such a job as running, also when the host is back, so nothing is ended on a guess."""
    with telling(service, part(2), name="crash-other") as story:
        nodes = story.running()
        job = story.job["id"]
        node = next(name for name in nodes if name != master(service, job))
        service.world.crash(node)
        service.world.boot(node)
        before = service.admin("backend.inspect")["listings"]
        service.wait(lambda: service.admin("backend.inspect")["listings"] >= before + 3, "three listings")
        assert queue.mine() == {job: "r"}
        assert story.lease.whole.properties().state == "Running"
        queue.delete(job)
        assert f"job {job} was cancelled" in story.warning().reason
        story.cancelled()
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
    serves_again(service, queue, node)


def serves_again(service: LrmService, queue: GridEngineQueue, node: str) -> None:
    """See a lease of all nodes run on one that crashed, and its memory given back in the end."""
    service.wait(lambda: not queue.mine(), "the end of the job in Grid Engine")
    service.world.wait_idle()
    with telling(service, part(3), name="again") as story:
        assert node in story.running()
        story.lease.whole.destroy()
    calm(service, queue)


@pytest.mark.full
def test_nothing_is_lost_while_the_qmaster_is_away(service: LrmService, queue: GridEngineQueue) -> None:
    ahead = queue.hog(300, 1)
    with telling(service, part(2), name="runs") as runs, telling(service, part(1), name="waits") as waits:
        runs.running()
        waits.waits("waits in the batch scheduler")
        service.world.stop_controller()
        service.wait(lambda: service.admin("backend.inspect")["failure"], "a word that the qmaster is away")
        time.sleep(5)  # for so long it is away
        assert {job["over"] for job in service.jobs() if job["claims"]} == {False}
        assert runs.lease.whole.properties().state == "Running"
        service.world.start_controller()
        runs.lease.whole.destroy()
        waits.running()  # Grid Engine itself takes its time to trust its hosts again
        assert not [news for news in [*runs.received, *waits.received] if news.topic == "warning"]
        waits.lease.whole.destroy()
    queue.delete(ahead)
    calm(service, queue)


def test_the_pilots_give_everything_back_in_time_while_the_service_is_away(
    service: LrmService, queue: GridEngineQueue
) -> None:
    with telling(service, part(2), name="alone") as story:
        story.running()
        job = story.job["id"]
        service.kill()
        began = time.monotonic()
        queue.delete(job)
        service.wait(lambda: not service.clean_nodes(), "the nodes' memory")
        assert time.monotonic() - began < NOTIFY - 1
        service.wait(lambda: not queue.mine(), "the end of the job")
        service.start()
        assert "was lost: the batch scheduler does not list the job any more" in story.cancelled()
    calm(service, queue)


def test_a_lease_runs_on_when_the_service_was_killed(service: LrmService, queue: GridEngineQueue) -> None:
    with telling(service, part(2), name="runs-on") as story:
        nodes = story.running()
        service.kill()
        service.start()
        assert story.lease.whole.properties().state == "Running"
        assert [len(service.status(node)["vms"]) for node in nodes] == [1, 1]
        story.lease.whole.destroy()
    calm(service, queue)


def master(service: LrmService, job: str) -> str:
    """Return the host where a job's script runs."""
    out: str = service.world.run_in_head(["qstat", "-g", "t", "-u", "lease"]).stdout
    (line,) = [line for line in out.splitlines() if line.split()[0] == job and " MASTER" in line]
    return next(word.partition("@")[2] for word in line.split() if word.startswith("batch@"))

"""Leases where the scheduler tells only the first node of a cancelled job, as Torque does, and in its other moods."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.lease_story import part, telling
from rigs.lrm_queues import TorqueQueue, calm, tidy
from rigs.lrm_service import LrmService, torque_service

pytestmark = pytest.mark.xdist_group("torque")

KILL_DELAY = 60.0  # seconds from qdel to the other nodes' notice; Torque's default is 10
GRACE = 60
SHORT = 40  # seconds; what the site's own rule makes of a job's limit while there is the file beside qsub
QSUB = """#!/bin/sh
[ -e {file}.short ] || exec {real} "$@"
exec {real} "$@" -l walltime={seconds}
"""


@pytest.fixture(scope="module")
def qsub() -> Iterator[Path]:
    """Give a script before qsub that, like a site's own rule, can shorten jobs."""
    with tempfile.TemporaryDirectory(prefix="fl-qsub-") as name:
        file = Path(name, "qsub")
        file.parent.chmod(0o755)
        yield file


@pytest.fixture(scope="module")
def cluster(qsub: Path) -> Iterator[LrmService]:
    """Give a service on four nodes."""
    commands = {"qsub": str(qsub)}
    options = {"grace": GRACE, "command_timeout": 6.0}
    world = {"kill_delay": KILL_DELAY, "down_hang": 1, "wall_late": 2}
    with torque_service(world=world, options=options, commands=commands) as made:
        qsub.write_text(QSUB.format(file=qsub, real=made.world.commands["qsub"], seconds=SHORT))
        qsub.chmod(0o755)
        yield made


@pytest.fixture(scope="module")
def queue(cluster: LrmService) -> TorqueQueue:
    """Give Torque's own list of jobs."""
    return TorqueQueue(cluster)


@pytest.fixture
def service(cluster: LrmService, queue: TorqueQueue) -> Iterator[LrmService]:
    """Give the module's service; what a test leaves behind is ended."""
    yield cluster
    tidy(cluster, queue)


def test_a_lease_runs_on_slots_and_gives_everything_back(service: LrmService, queue: TorqueQueue) -> None:
    with telling(service, part(4), name="life") as story:
        assert sorted(story.running()) == ["node1", "node2", "node3", "node4"]
        assert queue.mine() == {story.job["id"]: "R"}
        story.lease.whole.destroy()
    calm(service, queue)


def test_all_nodes_are_given_back_long_before_the_others_are_told(service: LrmService, queue: TorqueQueue) -> None:
    """The paper's Figure 5: there the other nodes heard of it several seconds later."""
    with telling(service, part(4), name="figure-5") as story:
        story.running()
        job = story.job
        began = time.monotonic()
        queue.delete(job["id"])
        warned = story.warning()
        assert "SIGTERM on node1" in warned.reason
        story.cancelled()
        service.wait(lambda: not service.clean_nodes(), "everything given back")
        took = time.monotonic() - began
        assert took < KILL_DELAY - 1
        told = service.world.show()[job["id"].partition(".")[0]]
        assert ["sisters" in [step[0] for step in told["plan"]] or told["state"] == "C"] == [True]
    calm(service, queue)


@pytest.mark.full  # a limit that Slurm ends a lease at, and this notice, have tests by default
def test_a_limit_that_the_site_shortened_ends_the_lease_though_only_one_node_is_told(
    service: LrmService, queue: TorqueQueue, qsub: Path
) -> None:
    short = Path(f"{qsub}.short")
    short.touch()
    with telling(service, part(3), name="limit") as story:
        story.running()
        short.unlink()
        warned = story.warning()
        began = time.monotonic()
        assert "reached its time limit (SIGTERM on node1)" in warned.reason
        assert "reached its time limit" in story.cancelled()
        service.wait(lambda: not service.clean_nodes(), "everything given back")
        assert time.monotonic() - began < KILL_DELAY - 1
    calm(service, queue)


def test_a_job_that_the_scheduler_lost_ends_the_lease_and_its_pilots_give_back(
    service: LrmService, queue: TorqueQueue
) -> None:
    with telling(service, part(2), name="lost") as story:
        story.running()
        service.world.ctl("lose", story.job["id"])
        reason = story.cancelled()
        assert "was lost: the batch scheduler does not list the job any more" in reason
    calm(service, queue)


def test_a_job_whose_number_was_never_told_is_found_by_its_name(service: LrmService, queue: TorqueQueue) -> None:
    before = len(service.world.show())
    service.world.ctl("fail-next-submit", "300")
    with telling(service, part(2), name="no-number") as story:
        story.running()
        job = service.wait(lambda: story.job["id"], "the job's number, from a listing")
        assert list(queue.mine()) == [job]
        assert len(service.world.show()) == before + 1
        story.lease.whole.destroy()
    calm(service, queue)


@pytest.mark.full
def test_a_node_that_crashes_stays_in_the_job_until_the_operator_deletes_it(
    service: LrmService, queue: TorqueQueue
) -> None:
    with telling(service, part(2), name="crash") as story:
        first, other = sorted(story.running())
        job = story.job["id"]
        service.world.crash(other)
        before = service.admin("backend.inspect")["listings"]
        service.wait(lambda: service.admin("backend.inspect")["listings"] >= before + 3, "three listings")
        assert queue.mine() == {job: "R"}
        assert len(service.status(first)["vms"]) == 1
        queue.delete(job)
        assert "SIGTERM on node1" in story.warning().reason
        story.cancelled()
        service.world.boot(other)
    service.wait(lambda: not queue.mine(), "the end of the job")
    with telling(service, part(4), name="again") as story:
        assert other in story.running()
        story.lease.whole.destroy()
    calm(service, queue)


def test_nothing_is_lost_while_the_server_is_down(service: LrmService, queue: TorqueQueue) -> None:
    ahead = queue.hog(300, 2)
    with telling(service, part(2), name="runs") as runs, telling(service, part(1), name="waits") as waits:
        runs.running()
        waits.waits("waits in the batch scheduler")
        service.world.ctl("down", "600")
        service.wait(lambda: service.admin("backend.inspect")["failure"], "a word that the server is away")
        assert runs.lease.whole.properties().state == "Running"
        service.world.ctl("down", "0")
        service.wait(lambda: not service.admin("backend.inspect")["failure"], "the server's return")
        assert {job["over"] for job in service.jobs() if job["claims"]} == {False}
        assert not [news for news in [*runs.received, *waits.received] if news.topic == "warning"]
        runs.lease.whole.destroy()
        waits.running()
        waits.lease.whole.destroy()
    queue.delete(ahead)
    calm(service, queue)


def test_a_job_that_is_refused_ends_the_lease_with_the_schedulers_words(
    service: LrmService, queue: TorqueQueue
) -> None:
    service.world.ctl("reject", "1")
    with telling(service, part(2), name="refused") as story:
        told = story.hear(lambda news: news.state == "Corrupted", "the end")
        assert "Job rejected by all possible destinations" in told.reason
        story.lease.whole.destroy()
    calm(service, queue)


def test_a_job_that_dies_before_its_first_word_ends_the_lease(service: LrmService, queue: TorqueQueue) -> None:
    service.world.ctl("die-next")
    with telling(service, part(2), name="dies") as story:
        # taken or broken: that depends on whether a listing ever showed it
        told = story.hear(lambda news: news.state in {"Cancelled", "Corrupted"}, "the end")
        assert "ended before all its nodes were ready" in told.reason
        if told.state == "Corrupted":
            story.lease.whole.destroy()
    calm(service, queue)

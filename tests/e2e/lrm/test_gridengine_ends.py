"""How leases on a real Grid Engine live and end: by their client, by the operator, by the queue's own limit."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rigs.lease_story import part, telling
from rigs.lrm_queues import GridEngineQueue, calm, tidy
from rigs.lrm_service import LrmService, gridengine_service

pytestmark = pytest.mark.xdist_group("gridengine-ends")

NOTIFY = 40  # seconds from Grid Engine's notice to its SIGKILL


@pytest.fixture(scope="module")
def cluster() -> Iterator[LrmService]:
    """Give a service on four nodes."""
    with gridengine_service(world={"notify": NOTIFY}, options={"grace": NOTIFY}) as made:
        yield made


@pytest.fixture(scope="module")
def queue(cluster: LrmService) -> GridEngineQueue:
    """Give Grid Engine's own list of jobs."""
    return GridEngineQueue(cluster)


@pytest.fixture
def service(cluster: LrmService, queue: GridEngineQueue) -> Iterator[LrmService]:
    """Give the module's service; what a test leaves behind is ended."""
    yield cluster
    tidy(cluster, queue)


def test_a_lease_runs_on_slots_and_gives_everything_back(service: LrmService, queue: GridEngineQueue) -> None:
    with telling(service, part(4), name="life") as story:
        assert sorted(story.running()) == ["node1", "node2", "node3", "node4"]
        assert list(queue.mine()) == [story.job["id"]]
        story.lease.whole.destroy()
    calm(service, queue)


def test_a_lease_waits_for_another_users_job_and_its_client_knows_why(
    service: LrmService, queue: GridEngineQueue
) -> None:
    ahead = queue.hog(300, 4)
    with telling(service, part(2), name="waits") as story:
        told = story.waits("waits in the batch scheduler", "2 hosts of the queue batch")
        assert "fl-" in told.reason
        found = story.lease.whole.properties()
        assert (found.state, found.task) == ("Unpropagated", "Queued")
        queue.delete(ahead)
        assert len(story.running()) == 2
        story.lease.whole.destroy()
    calm(service, queue)


def test_the_client_gives_up_a_lease_that_waits(service: LrmService, queue: GridEngineQueue) -> None:
    ahead = queue.hog(300, 4)
    with telling(service, part(2), name="gives-up") as story:
        story.waits("waits in the batch scheduler")
        story.lease.whole.destroy()
        service.wait(lambda: not queue.mine(), "the end of the job in Grid Engine")
    queue.delete(ahead)
    calm(service, queue)


def test_the_operator_deletes_a_lease_that_waits(service: LrmService, queue: GridEngineQueue) -> None:
    ahead = queue.hog(300, 4)
    with telling(service, part(2), name="operator-1") as story:
        story.waits("waits in the batch scheduler")
        job = story.job["id"]
        queue.delete(job)
        reason = story.cancelled()
        assert "the batch scheduler" in reason
    queue.delete(ahead)
    calm(service, queue)


def test_the_operator_deletes_a_running_lease_and_all_is_given_back_before_the_kill(
    service: LrmService, queue: GridEngineQueue
) -> None:
    with telling(service, part(4), name="operator-2") as story:
        story.running()
        found = story.job
        job = found["id"]
        began = time.monotonic()
        queue.delete(job)
        warned = story.warning()
        assert warned.seconds is not None
        assert 0 <= warned.seconds <= NOTIFY / 2
        assert f"the batch scheduler takes the nodes back: job {job} was cancelled" in warned.reason
        assert "SIGUSR2 on node" in warned.reason
        assert "was cancelled" in story.cancelled()
        service.wait(lambda: not service.clean_nodes(), "everything given back")
        assert time.monotonic() - began < NOTIFY - 1
        service.wait(lambda: service.record(found["job"])[1] == ["Released"] * 4, "the slots' end")
    calm(service, queue)

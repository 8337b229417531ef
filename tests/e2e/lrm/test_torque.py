"""Leases where the scheduler tells only the first node of a cancelled job, as Torque does, and in its other moods."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rigs.lease_story import part, telling
from rigs.lrm_queues import TorqueQueue, calm, tidy
from rigs.lrm_service import LrmService, torque_service

pytestmark = pytest.mark.xdist_group("torque")

KILL_DELAY = 10.0  # seconds from qdel to the other nodes' notice, Torque's default
GRACE = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[LrmService]:
    """Give a service on four nodes."""
    options = {"grace": GRACE, "command_timeout": 4.0}
    with torque_service(world={"kill_delay": KILL_DELAY, "down_hang": 1, "wall_late": 2}, options=options) as made:
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
        service.wait(lambda: not service.clean_nodes(), "everything given back", GRACE)
        took = time.monotonic() - began
        assert took < KILL_DELAY - 1
        told = service.world.show()[job["id"].partition(".")[0]]
        assert ["sisters" in [step[0] for step in told["plan"]] or told["state"] == "C"] == [True]
    calm(service, queue)

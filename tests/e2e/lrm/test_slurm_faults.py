"""What becomes of leases when parts of a real Slurm fail: a node, the controller, a node's daemon, its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rigs.lease_story import calm, hog, listed, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-faults")

GRACE = 40


@pytest.fixture(scope="module")
def cluster(machines: Mapping[str, Any]) -> Iterator[LrmService]:
    """Give a service on three nodes; one that is silent for ten seconds counts as down."""
    with slurm_service(
        nodes=3, world={"kill_wait": GRACE, "down_after": 10}, options={"grace": GRACE}, **machines
    ) as made:
        yield made


@pytest.fixture
def service(cluster: LrmService) -> Iterator[LrmService]:
    """Give the module's service, with all nodes idle; what a test leaves behind is ended."""
    slurm(cluster).wait_idle()
    yield cluster
    tidy(cluster)


def test_a_node_that_the_operator_sets_down_ends_the_lease(service: LrmService) -> None:
    with telling(service, part(2), name="set-down") as story:
        nodes = story.running()
        job = story.job
        down = ["scontrol", "update", f"nodename={nodes[1]}", "state=down", "reason=test"]
        slurm(service).run_in_head(down)
        assert f"job {job['id']} lost a node, which failed or was taken out of service" in story.cancelled()
    slurm(service).run_in_head(["scontrol", "update", f"nodename={nodes[1]}", "state=resume"], check=False)
    calm(service)


def test_a_node_that_crashes_ends_the_lease_and_serves_again_when_it_is_back(service: LrmService) -> None:
    with telling(service, part(2), name="crash") as story:
        nodes = story.running()
        job = story.job
        slurm(service).crash(nodes[1])
        assert f"job {job['id']} lost a node" in story.cancelled()
    slurm(service).boot(nodes[1])
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
    slurm(service).wait_idle()
    with telling(service, part(3), name="again") as story:
        assert nodes[1] in story.running()
        story.lease.whole.destroy()
    calm(service)


def test_nothing_is_lost_while_the_controller_is_away(service: LrmService) -> None:
    ahead = hog(service, 300, "-N1", "-n1", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="runs") as runs, telling(service, part(1), name="waits") as waits:
        runs.running()
        waits.waits("Resources")
        slurm(service).stop_controller()
        with telling(service, part(1), name="asked-meanwhile") as late:
            service.wait(lambda: service.admin("backend.inspect")["failure"], "a word that the controller is away")
            before = service.admin("backend.inspect")["listings"]
            service.wait(lambda: service.admin("backend.inspect")["listings"] > before, "one more try to list")
            assert {job["over"] for job in service.jobs() if job["claims"]} == {False}
            assert runs.lease.whole.properties().state == "Running"
            slurm(service).start_controller()
            runs.lease.whole.destroy()
            waits.running()
            late.running()
            assert not [news for news in [*runs.received, *waits.received] if news.topic == "warning"]
            waits.lease.whole.destroy()
            late.lease.whole.destroy()
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_the_daemon_of_a_node_may_be_restarted(service: LrmService) -> None:
    with telling(service, part(2), name="slurmd") as story:
        nodes = story.running()
        slurm(service).stop_slurmd(nodes[0])
        slurm(service).start_slurmd(nodes[0])
        before = service.admin("backend.inspect")["listings"]
        service.wait(lambda: service.admin("backend.inspect")["listings"] >= before + 2, "two listings")
        assert story.lease.whole.properties().state == "Running"
        story.lease.whole.destroy()
    calm(service)


def test_a_job_that_is_put_back_into_the_queue_ends_the_lease_that_ran_on_it(service: LrmService) -> None:
    with telling(service, part(1), name="requeued") as story:
        story.running()
        job = story.job
        refused = slurm(service).run_in_head(["scontrol", "requeue", job["id"]], check=False)
        assert refused.returncode, "jobs are submitted so that Slurm never starts them again by itself"
        slurm(service).run_in_head(["scontrol", "update", f"JobId={job['id']}", "Requeue=1"])
        slurm(service).run_in_head(["scontrol", "requeue", job["id"]])
        story.cancelled()
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
    service.wait(lambda: service.record(job["job"])[0], "the end of the job")
    calm(service)

"""How leases on a real Slurm end before their time: by their client, by the operator, by other jobs, without a word."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flyinglow.cli.demo.slurm_conf import PREEMPTION
from rigs.lease_story import calm, hog, listed, mine, only, part, slurm, telling
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-ends")

GRACE = 40  # seconds, of a cancel and of a pre-emption; nothing here waits for its end
WORLD = {
    "kill_wait": GRACE,
    "lines": PREEMPTION,
    "partition": f"PreemptMode=CANCEL GraceTime={GRACE} MaxTime=INFINITE",
}


@pytest.fixture(scope="module")
def service(machines: Mapping[str, Any]) -> Iterator[LrmService]:
    """Give a service on four nodes, whose jobs those of the partition urgent may take the nodes of."""
    with slurm_service(world=WORLD, options={"grace": GRACE}, **machines) as made:
        yield made


def test_a_lease_waits_for_another_users_job_and_its_client_knows_why(service: LrmService) -> None:
    ahead = hog(service, 300, "-N4", "-n4", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="waits") as story:
        told = story.waits("Resources")
        assert "fl-" in told.reason
        told = story.hear(lambda news: news.topic == "schedule" and news.starts_at is not None, "an estimate")
        assert told.starts_at is not None
        assert 0 < (told.starts_at - told.at).total_seconds() < 600
        found = story.lease.whole.properties()
        assert (found.state, found.task) == ("Unpropagated", "Queued")
        assert "Resources" in found.reason
        slurm(service).run_in_head(["scancel", ahead])
        assert len(story.running()) == 2
        story.lease.whole.destroy()
    calm(service)


def test_the_client_gives_up_a_lease_that_waits(service: LrmService) -> None:
    ahead = hog(service, 300, "-N4", "-n4", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="gives-up") as story:
        story.waits("waits in the batch scheduler")
        story.lease.whole.destroy()
        service.wait(lambda: not mine(service), "the end of the job in Slurm")
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_the_operator_cancels_a_lease_that_waits(service: LrmService) -> None:
    ahead = hog(service, 300, "-N4", "-n4", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="operator-1") as story:
        story.waits("waits in the batch scheduler")
        slurm(service).run_in_head(["scancel", story.job["id"]])
        assert "was cancelled by the operator or by hand" in story.cancelled()
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_the_operator_cancels_a_lease_that_is_launching(service: LrmService) -> None:
    with telling(service, part(4), name="operator-2") as story:
        job = only(service, over=False, state="Started")
        slurm(service).run_in_head(["scancel", job["id"]])
        said = story.cancelled()  # a pilot's last word may come before the next look at the job
        assert f"job {job['id']} was cancelled by the operator or by hand" in said or "signal SIGTERM" in said
        assert job["id"] in said
    calm(service)


def test_the_client_gives_up_a_lease_that_is_launching(service: LrmService) -> None:
    with telling(service, part(4), name="gives-up-2") as story:
        only(service, over=False, state="Started")
        story.lease.whole.destroy()
    calm(service)


def test_the_operator_cancels_a_running_lease_and_all_is_given_back_in_its_grace(service: LrmService) -> None:
    with telling(service, part(4), name="operator-3") as story:
        story.running()
        job = story.job
        began = time.monotonic()
        slurm(service).run_in_head(["scancel", job["id"]])
        warned = story.warning()
        assert warned.seconds is not None
        assert 0 <= warned.seconds <= GRACE / 2
        assert f"job {job['id']} was cancelled by the operator or by hand (SIGTERM on node" in warned.reason
        assert "was cancelled by the operator or by hand" in story.cancelled()
        service.wait(lambda: service.record(job["job"])[1] == ["Released"] * 4, "the slots' end")
        assert time.monotonic() - began < GRACE - 1
        ended = [story.state(f"wn-{number}", "Cancelled") for number in range(1, 5)]
        assert all((news.at - warned.at).total_seconds() < GRACE - 1 for news in ended)
    calm(service)


def test_a_job_of_a_higher_partition_takes_the_nodes(service: LrmService) -> None:
    with telling(service, part(4), name="preempted") as story:
        story.running()
        job = story.job
        began = time.monotonic()
        urgent = hog(service, 5, "-N2", "-n2", "-t1", "-p", "urgent")
        warned = story.warning()
        assert f"job {job['id']} was pre-empted: another job took its nodes (SIGTERM on node" in warned.reason
        assert warned.seconds is not None
        assert 0 <= warned.seconds <= GRACE / 2
        assert "pre-empted" in story.cancelled()
        service.wait(lambda: listed(service, {"id": urgent}) in {"RUNNING", "COMPLETED"}, "the urgent job's start")
        assert time.monotonic() - began < 3 * GRACE
    calm(service)


def test_a_kill_without_warning_loses_the_slots_and_the_next_pilots_restore_the_nodes(service: LrmService) -> None:
    killed(service)
    with telling(service, part(4), name="next") as story:
        story.running()
        story.lease.whole.destroy()
    calm(service)


def test_a_kill_without_warning_is_made_good_by_kill_all(service: LrmService) -> None:
    for node in killed(service):
        service.world.run_on(node, ["flyinglow-nodectl", "kill-all"])
    calm(service)


def killed(service: LrmService) -> list[str]:
    """Have a lease's job killed unheard, and its client told; return the nodes where something is left of it."""
    for number in range(5):
        with telling(service, part(2), name=f"killed-{number}") as story:
            nodes = story.running()
            job = story.job
            slurm(service).run_in_head(["scancel", "--full", "--signal=TERM", job["id"]])
            assert f"was lost: the batch scheduler ended job {job['id']}: FAILED" in story.cancelled()
        service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
        service.wait(lambda: not mine(service), "the end of the job")
        if [line for line in service.clean_nodes() if "slot" in line]:
            return nodes
    pytest.fail("the agents were never killed before they saw that their pilots were gone")

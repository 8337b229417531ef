"""Sixteen nodes of a real Slurm: one lease on all of them; many small ones cost the scheduler no more than one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rigs.lease_story import calm, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-sixteen")

NODES = 16
GRACE = 60
POLL = 2.0
LEASES = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator[LrmService]:
    """Give a service on sixteen nodes."""
    options = {"grace": GRACE, "poll": POLL}
    with slurm_service(nodes=NODES, world={"kill_wait": GRACE, "down_after": 60}, options=options) as made:
        yield made


@pytest.fixture
def service(cluster: LrmService) -> Iterator[LrmService]:
    """Give the module's service with all nodes idle."""
    slurm(cluster).wait_idle()
    yield cluster
    tidy(cluster)


def test_one_lease_has_all_nodes_and_is_cancelled_within_the_grace(service: LrmService) -> None:
    with telling(service, part(NODES), name="all") as story:
        assert len(set(story.running(240))) == NODES
        job = story.job
        began = time.monotonic()
        slurm(service).run_in_head(["scancel", job["id"]])
        assert story.warning().seconds is not None
        service.wait(lambda: service.record(job["job"])[1] == ["Released"] * NODES, "the slots' end")
        assert time.monotonic() - began < GRACE - 1
        assert "was cancelled by the operator or by hand" in story.cancelled()
    calm(service)


def test_many_leases_are_polled_for_as_one_is(service: LrmService) -> None:
    leases = [service.site.create([part(1)], name=f"few-{number}", duration=600) for number in range(LEASES)]
    for lease in leases:
        lease.whole.wait("Running", timeout=120)
    began, before = time.monotonic(), service.admin("backend.inspect")["listings"]
    time.sleep(3 * POLL)  # the rate over some polls is what is measured
    listings = service.admin("backend.inspect")["listings"] - before
    assert listings <= (time.monotonic() - began) / POLL + 2
    for lease in leases:
        lease.whole.destroy()
    calm(service)

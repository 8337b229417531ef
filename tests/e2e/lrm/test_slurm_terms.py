"""What a lease may ask of a real Slurm: a start in time, an answer beforehand, a later end, the last nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flyinglow.nodectl.errors import DeniedError, FlyingLowError, NeverError
from rigs.lease_story import calm, hog, listed, mine, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-terms")

GRACE = 40
HOLD = 6.0  # seconds that a younger request may hold nodes which an older one waits for


@pytest.fixture(scope="module")
def cluster(machines: Mapping[str, Any]) -> Iterator[LrmService]:
    """Give a service on two nodes, whose jobs have one size each; a job may last an hour at most."""
    world = {"kill_wait": GRACE, "partition": "MaxTime=60"}
    options = {"grace": GRACE, "heterogeneous": False, "hold_limit": HOLD}
    with slurm_service(nodes=2, world=world, options=options, **machines) as made:
        yield made


@pytest.fixture
def service(cluster: LrmService) -> Iterator[LrmService]:
    """Give the module's service with all nodes idle."""
    slurm(cluster).wait_idle()
    yield cluster
    tidy(cluster)


def test_a_lease_that_cannot_start_in_time_ends_with_what_was_short(service: LrmService) -> None:
    ahead = hog(service, 300, "-N1", "-n1", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, part(2), name="too-late", start_within=12) as story:
        story.waits("Resources")
        reason = story.hear(lambda news: news.state in {"Cancelled", "Corrupted"}, "the end").reason
        assert "start" in reason
        assert "Resources" in reason
        service.wait(lambda: not mine(service), "the end of the job")
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_slurm_itself_is_asked_before_anything_is_leased(service: LrmService) -> None:
    site = service.site
    assert site.validate([part(2)], name="fits", duration=600).workspaces == 2
    ahead = hog(service, 300, "-N2", "-n2", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    estimate = site.estimate([part(2)], name="later", duration=600)
    assert estimate.starts_in is not None
    assert 0 < estimate.starts_in < 600
    with pytest.raises(FlyingLowError):
        site.validate([part(3)], name="too-many", duration=600)
    with pytest.raises(NeverError):
        site.validate([part(1, memory_mb=3000)], name="too-large", duration=600)
    with pytest.raises(FlyingLowError) as refused:
        site.create([part(1)], name="too-long", duration=7200)
    assert "3" in str(refused.value)
    assert not mine(service)
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_an_ordinary_user_is_refused_a_later_end_with_the_latest_possible(service: LrmService) -> None:
    with telling(service, part(1), name="ordinary") as story:
        story.running()
        with pytest.raises(DeniedError) as refused:
            story.lease.whole.extend(1800)
        assert "longest" in str(refused.value) or "latest" in str(refused.value)
        assert story.lease.whole.properties().state == "Running"
        story.lease.whole.destroy()
    calm(service)


def numbers(service: LrmService) -> list[str]:
    """Return Slurm's numbers of the jobs that are not over, as far as the service has been told them."""
    return [str(job["id"]) for job in service.jobs() if job["id"] and not job["over"]]


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.full)])
def test_of_two_requests_for_the_last_nodes_the_older_starts_and_the_younger_gives_way(
    service: LrmService, *, again: bool
) -> None:
    sizes = [part(1, 128, "small"), part(1, 256, "large")]
    ahead = hog(service, 300, "-N2", "-n2", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job")
    with telling(service, sizes, name="older") as older:
        held = max(service.wait(lambda: (ids := numbers(service)) and len(ids) == 2 and ids, "two jobs of the older"))
        slurm(service).run_in_head(["scontrol", "hold", held])
        with telling(service, sizes, name="younger") as younger:
            service.wait(lambda: len(mine(service)) == 4, "two jobs of the younger")
            slurm(service).run_in_head(["scancel", ahead])
            service.wait(lambda: sum("RUNNING" in line for line in mine(service)) == 2, "one node for each")
            slurm(service).run_in_head(["scontrol", "release", held])
            younger.waits("gave its nodes back to an older request")
            older.running()
            assert younger.lease.whole.properties().task == "Queued"
            older.lease.whole.destroy()
            if again:  # after half a minute
                younger.running()
            younger.lease.whole.destroy()
    calm(service)

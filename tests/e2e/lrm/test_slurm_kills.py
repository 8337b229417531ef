"""Jobs of a Slurm that keeps track of them by control groups: what a kill without warning leaves, and who mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rigs.lease_story import calm, part, slurm, telling
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-kills")

GRACE = 40


@pytest.fixture(scope="module")
def service(machines: Mapping[str, Any]) -> Iterator[LrmService]:
    """Give a service on two nodes."""
    with slurm_service(
        nodes=2, world={"kill_wait": GRACE, "proctrack": "cgroup"}, options={"grace": GRACE}, **machines
    ) as made:
        yield made


def test_a_lease_lives_and_is_cancelled_within_its_grace(service: LrmService) -> None:
    with telling(service, part(2), name="cancelled") as story:
        story.running()
        slurm(service).run_in_head(["scancel", story.job["id"]])
        warned = story.warning()
        assert "SIGTERM" in warned.reason
        assert "was cancelled" in story.cancelled()
        service.wait(lambda: not service.clean_nodes(), "the nodes' memory", GRACE - 1)
    calm(service)


def test_what_a_kill_leaves_is_mended_by_the_next_pilots(service: LrmService) -> None:
    with telling(service, part(2), name="killed") as story:
        story.running()
        job = story.job
        slurm(service).run_in_head(["scancel", "--full", "--signal=TERM", job["id"]])
        assert f"job {job['id']}" in story.cancelled()
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
    slurm(service).wait_idle()
    with telling(service, part(2), name="next") as story:
        story.running()
        story.lease.whole.destroy()
    calm(service)

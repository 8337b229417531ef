"""The time limit of a pilot job on a real Slurm: what becomes of a lease at it, and who may move it."""

from __future__ import annotations

from rigs.lease_story import calm, part, slurm, telling
from rigs.lrm_service import slurm_service

GRACE = 40


def test_a_user_whom_the_site_made_an_operator_gets_a_later_end() -> None:
    world = {"kill_wait": GRACE, "slurm_user": "lease"}
    options = {"grace": GRACE, "extend": "operator"}
    with slurm_service(nodes=1, world=world, options=options) as service, telling(service, part(1), name="op") as story:
        story.running()
        before = story.lease.whole.properties().ends_at
        limit = ["squeue", "-h", "-u", "lease", "-o", "%l"]
        known = slurm(service).run_in_head(limit).stdout
        granted = story.lease.whole.extend(1800)
        assert before is not None
        assert abs((granted - before).total_seconds() - 1800) < 2
        assert slurm(service).run_in_head(limit).stdout != known
        assert service.slots("Ready")
        story.lease.whole.destroy()
        calm(service)


def test_a_lease_whose_job_reaches_its_limit_ends_with_a_warning_and_everything_given_back() -> None:
    options = {"grace": GRACE}
    with slurm_service(nodes=1, world={"kill_wait": GRACE}, options=options) as service:
        with telling(service, part(1), name="limit") as story:
            story.running()
            job = story.job
            slurm(service).run_in_head(["scontrol", "update", f"JobId={job['id']}", "EndTime=now+1"])
            warned = story.warning(240)
            assert f"job {job['id']} reached its time limit (SIGTERM on node1)" in warned.reason
            assert "reached its time limit" in story.cancelled()
        calm(service)

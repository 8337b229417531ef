"""What a lessee reads of the end of a pilot job, for each way that a scheduler tells of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flyinglow.backend.lrm import words
from flyinglow.backend.lrm.api import JobView
from flyinglow.backend.lrm.model import Component, PilotJob
from flyinglow.backend.lrm.states import LrmSays

JOB = PilotJob(
    tag="abcdefgh",
    claim="k",
    secret="",
    components=(Component(nodes=1, memory_mb=100, cpus=1),),
    seconds=600,
    lrm_id="123",
    requested_at=datetime(2030, 1, 1, tzinfo=UTC),
)


def view(says: LrmSays, native: str, reason: str = "", left: float | None = 300.0) -> JobView:
    """Return what a listing shows of the job."""
    return JobView(lrm_id="123", tag="abcdefgh", says=says, native=native, reason=reason, left=left)


@pytest.mark.parametrize(
    ("shown", "fate"),
    [
        (view(LrmSays.ENDING, "COMPLETING"), "job 123 was cancelled by the operator or by hand"),
        (view(LrmSays.ENDED, "CANCELLED"), "job 123 was cancelled by the operator or by hand"),
        (view(LrmSays.RUNNING, "RUNNING", "Preempted"), "job 123 was pre-empted: another job took its nodes"),
        (view(LrmSays.ENDING, "COMPLETING", "Preempted"), "job 123 was pre-empted"),
        (view(LrmSays.ENDING, "COMPLETING", "NodeDown"), "job 123 lost a node"),
        (view(LrmSays.ENDING, "COMPLETING", "TimeLimit", 0.0), "job 123 reached its time limit"),
        (view(LrmSays.RUNNING, "RUNNING", "", 0.0), "job 123 reached its time limit"),
        (view(LrmSays.RUNNING, "RUNNING"), "job 123 was cancelled or pre-empted"),
        (None, "job 123 was cancelled or pre-empted"),
    ],
)
def test_the_notice_tells_why_the_nodes_go(shown: JobView | None, fate: str) -> None:
    said = words.ending(JOB, shown, "SIGTERM", "node3")
    assert said.startswith("the batch scheduler takes the nodes back: " + fate)
    assert said.endswith(" (SIGTERM on node3)")


@pytest.mark.parametrize(
    ("native", "reason", "said"),
    [
        ("CANCELLED", "", "took the nodes back: job 123 was cancelled by the operator or by hand (CANCELLED)"),
        ("CANCELLED by 0", "", "took the nodes back: job 123 was cancelled"),
        (
            "PREEMPTED",
            "Preempted",
            "took the nodes back: job 123 was pre-empted: another job took its nodes",
        ),
        ("TIMEOUT", "TimeLimit", "took the nodes back: job 123 reached its time limit (TIMEOUT)"),
        ("NODE_FAIL", "NodeDown", "took the nodes back: job 123 lost a node"),
        ("FAILED", "NonZeroExitCode", "ended job 123: FAILED (NonZeroExitCode)"),
        ("COMPLETED", "None", "ended job 123: COMPLETED"),
    ],
)
def test_the_end_tells_how(native: str, reason: str, said: str) -> None:
    assert words.ended(view(LrmSays.ENDED, native, reason)).startswith("the batch scheduler " + said)

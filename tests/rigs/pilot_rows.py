"""Pilot jobs, slots and what hangs on them, for tests."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from flyinglow.backend.lrm.model import Assignment, Component, PilotJob, Slot, Trail
from rigs.store import NOON


def pilot_job(number: int, **changes: Any) -> PilotJob:
    """Make a pilot job; a later number was requested later."""
    row = PilotJob(
        tag=f"j{number:07d}",
        claim=f"c{number}",
        components=(Component(nodes=2, memory_mb=672, cpus=1),),
        seconds=3720,
        secret=f"5ec0{number:04x}",
        requested_at=NOON + timedelta(seconds=number),
    )
    return replace(row, **changes)


def slot(job: PilotJob | int, rank: int, **changes: Any) -> Slot:
    """Make a slot of a job."""
    tag = job.tag if isinstance(job, PilotJob) else pilot_job(job).tag
    return replace(Slot(job=tag, rank=rank, memory_mb=672, cpus=1), **changes)


def assignment(claim: str, member: str, slot_id: str, **changes: Any) -> Assignment:
    """Put a member on a slot."""
    return replace(Assignment(claim=claim, member=member, slot=slot_id, memory_mb=512, cpus=1), **changes)


def trail(slot_id: str, sequence: int, **changes: Any) -> Trail:
    """Make a report."""
    at = NOON + timedelta(seconds=sequence)
    row = Trail(
        slot=slot_id, epoch=1, sequence=sequence, kind="ready", at=at, sent_ms=1893499200123, body={"left": 3600.5}
    )
    return replace(row, **changes)

"""What of the slots nobody uses, counted for the policies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Sizes
from flyinglow.backend.lrm.states import JobState, SlotState

if TYPE_CHECKING:
    from flyinglow.backend.lrm.mirror import Written
    from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot

ASKED = frozenset({JobState.REQUESTED, JobState.PENDING, JobState.STARTED})
"""The states of a job whose slots can still be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is counted with; ``idle``: seconds since a slot was last used."""

    sizes: Sizes
    now: datetime
    idle: Mapping[str, float]


def holdings(rows: Written, figures: Figures) -> Holdings:
    """Return all free slots, and what is coming that was asked for ahead of need."""
    coming = [
        component
        for job in rows.jobs
        if not job.claim and not job.unwanted and job.state in ASKED and not _is_up(job, rows.slots)
        for component in job.components
    ]
    return Holdings(free=tuple(free_slots(rows, figures)), coming=tuple(coming))


def _is_up(job: PilotJob, slots: Sequence[Slot]) -> bool:
    return all(slot.state is SlotState.READY for slot in slots if slot.job == job.tag)


def free_slots(rows: Written, figures: Figures) -> list[FreeSlot]:
    """Return the slots that are ready, with what is left of each.

    A job that nobody uses yet counts only when all of it is ready, and one that is being taken away not at all.
    """
    used: dict[str, list[Assignment]] = defaultdict(list)
    for assignments in rows.claims.values():
        for one in assignments:
            used[one.slot].append(one)
    in_use = {slot.job for slot in rows.slots if used[slot.id]}
    arriving = {slot.job for slot in rows.slots if slot.state is not SlotState.READY} - in_use
    going = {slot.job for slot in rows.slots if slot.state is SlotState.PREEMPTING}
    open_jobs = {job.tag for job in rows.jobs if not job.unwanted and job.state in ASKED} - arriving - going
    sizes = figures.sizes
    return [
        FreeSlot(
            slot=slot.id,
            job=slot.job,
            memory_mb=slot.memory_mb
            - sizes.slot_overhead_mb
            - sum(one.memory_mb + sizes.vm_overhead_mb for one in used[slot.id]),
            cpus=slot.cpus - sum(one.cpus for one in used[slot.id]),
            left=(slot.deadline - figures.now).total_seconds() if slot.deadline else 0.0,
            claims=len({one.claim for one in used[slot.id]}),
            idle=0.0 if used[slot.id] else figures.idle.get(slot.id, 0.0),
        )
        for slot in rows.slots
        if slot.state is SlotState.READY and slot.job in open_jobs
    ]

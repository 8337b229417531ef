"""What a listing makes of jobs and slots: pure, over the rows and the LRM's words, by the table ``JOB_NEXT``.

Nothing is concluded from silence: a job counts as gone only when complete listings, taken after its submission ended,
do not show it. What a pilot said of its slot stands; a listing only ends slots whose job is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flyinglow.backend.lrm import words
from flyinglow.backend.lrm.states import JOB_NEXT, JOB_OVER, SLOT_OVER, JobState, LrmSays, SlotState

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobView
    from flyinglow.backend.lrm.mirror import Written
    from flyinglow.backend.lrm.model import PilotJob, Slot

_SLACK = 60.0  # seconds by which an estimate may move before it is news
_ONE, _TWO = 1, 2  # complete listings that do not show a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One complete listing. ``missed``: how many in a row, this one too, could have shown a job and did not."""

    views: Mapping[str, JobView]  # by tag
    missed: Mapping[str, int]
    at: datetime
    submit_grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What becomes of one job. ``lost`` counts slots that no pilot gave notice of; ``resubmit``: it never got there."""

    old: PilotJob
    new: PilotJob
    slots: tuple[tuple[Slot, Slot], ...] = ()
    lost: int = 0
    resubmit: bool = False


def by_tag(views: Sequence[JobView], known: Mapping[str, str | None]) -> tuple[dict[str, JobView], list[JobView]]:
    """Return the view of each known job by tag, and the live jobs that bear our name and are nobody's.

    A job whose id is known is only that one; of several by one name the first that still lives is it.
    """
    chosen: dict[str, JobView] = {}
    for view in sorted(views, key=lambda one: one.says in {LrmSays.ENDED, LrmSays.GONE}):
        tag = view.tag
        if tag is not None and tag in known and known[tag] in {None, view.lrm_id}:
            chosen.setdefault(tag, view)
    mine = {view.lrm_id for view in chosen.values()}
    live = {LrmSays.WAITING, LrmSays.RUNNING}
    strays = [view for view in views if view.tag is not None and view.lrm_id not in mine and view.says in live]
    return chosen, strays


def judge(rows: Written, listing: Listing) -> list[Finding]:
    """Return what is to be written of each job that lives."""
    slots: dict[str, list[Slot]] = {}
    for slot in rows.slots:
        slots.setdefault(slot.job, []).append(slot)
    launched = _launched(rows)
    findings = []
    for job in rows.jobs:
        if job.state not in JOB_OVER:
            found = _job(job, slots.get(job.tag, []), listing, job.tag in launched)
            if found is not None:
                findings.append(found)
    return findings


def _launched(rows: Written) -> set[str]:
    """Return the jobs on whose slots VMs may have been started: a claim has all its slots ready."""
    by_id = {slot.id: slot for slot in rows.slots}
    tags = set()
    for of_claim in rows.claims.values():
        used = [by_id[one.slot] for one in of_claim if one.slot in by_id]
        if used and all(slot.ready_at is not None for slot in used):
            tags |= {slot.job for slot in used}
    return tags


def _job(job: PilotJob, slots: Sequence[Slot], listing: Listing, launched: bool) -> Finding | None:
    view = listing.views.get(job.tag)
    if view is None:
        return _missing(job, slots, listing)
    if _is_anew(job, view) and not job.unwanted:
        return _anew(job, slots, view, listing, launched)
    seen = _seen(job, view, listing.at)
    state = JOB_NEXT[job.state].get(view.says, job.state)
    if state in JOB_OVER:
        return _over(job, replace(seen, state=state), slots, words.ended(view), listing.at)
    new = replace(seen, state=state)
    return Finding(old=job, new=new) if new != job else None


def _seen(job: PilotJob, view: JobView, at: datetime) -> PilotJob:
    """Return the job with what the listing tells of it beside its state."""
    starts_at = at + timedelta(seconds=view.starts_in) if view.starts_in is not None else None
    if starts_at and job.starts_at and abs((starts_at - job.starts_at).total_seconds()) < _SLACK:
        starts_at = job.starts_at
    runs = view.says is LrmSays.RUNNING
    started_at = job.started_at or (at if runs else None)
    ends_at = job.ends_at
    if runs and ends_at is None and started_at is not None:
        ends_at = at + timedelta(seconds=view.left if view.left is not None else job.seconds)
    return replace(
        job,
        lrm_id=job.lrm_id or view.lrm_id,
        native=view.native,
        reason=job.reason if job.unwanted else view.reason,
        listed_at=job.listed_at or at,
        started_at=started_at,
        starts_at=starts_at if view.says is LrmSays.WAITING else None,
        ends_at=ends_at,
        attempts=0 if job.lrm_id is None else job.attempts,
    )


def _missing(job: PilotJob, slots: Sequence[Slot], listing: Listing) -> Finding | None:
    missed = listing.missed.get(job.tag, 0)
    if job.listed_at is None:
        since = (listing.at - (job.submitted_at or job.requested_at)).total_seconds()
        if missed < _TWO or since < listing.submit_grace:
            return None
        if job.lrm_id is None and not job.unwanted:
            return Finding(old=job, new=replace(job, submitted_at=listing.at), resubmit=True)
    elif missed < (_ONE if job.unwanted else _TWO):
        return None
    state = JOB_NEXT[job.state].get(LrmSays.GONE, JobState.LOST)
    reason = "" if job.lrm_id is None else words.ended(None)
    return _over(job, replace(job, state=state), slots, reason, listing.at)


def _over(job: PilotJob, new: PilotJob, slots: Sequence[Slot], reason: str, at: datetime) -> Finding:
    """End a job, and with it every slot that no pilot reported as given back."""
    kept = job.reason if job.unwanted else reason
    living = [slot for slot in slots if slot.state not in SLOT_OVER]
    gone = tuple((slot, replace(slot, state=SlotState.LOST, reason=slot.reason or kept, over_at=at)) for slot in living)
    unforeseen = {SlotState.BOUND, SlotState.READY}
    return Finding(
        old=job,
        new=replace(new, reason=kept, over_at=at, starts_at=None),
        slots=gone,
        lost=0 if job.unwanted else sum(slot.state in unforeseen for slot in living),
    )


def _is_anew(job: PilotJob, view: JobView) -> bool:
    back = job.state is JobState.STARTED and view.says is LrmSays.WAITING
    return view.says in {LrmSays.WAITING, LrmSays.RUNNING} and (back or view.restarts + 1 > job.epoch)


def _anew(job: PilotJob, slots: Sequence[Slot], view: JobView, listing: Listing, launched: bool) -> Finding:
    """Take note that the LRM starts the job once more: all that its pilots said before is void."""
    reason = "the batch scheduler took the job back and put it into its queue again"
    whole = len([slot for slot in slots if slot.state not in SLOT_OVER]) == sum(c.nodes for c in job.components)
    seen = replace(_seen(job, view, listing.at), epoch=max(view.restarts + 1, job.epoch + 1))
    if launched or not whole:
        ended = _over(job, seen, slots, reason, listing.at)
        return replace(ended, new=replace(seen, unwanted=True, state=JobState.ENDING, reason=reason))
    runs = view.says is LrmSays.RUNNING
    new = replace(
        seen,
        state=JobState.STARTED if runs else JobState.PENDING,
        started_at=listing.at if runs else None,
        ends_at=seen.ends_at if runs else None,
    )
    fresh = tuple((slot, _fresh(slot, new.epoch)) for slot in slots)
    return Finding(old=job, new=new, slots=fresh)


def _fresh(slot: Slot, epoch: int) -> Slot:
    """Return a slot that waits for a pilot of this epoch; its key stays, to tell late words of the old one by."""
    return replace(
        slot,
        state=SlotState.UNBOUND,
        epoch=epoch,
        node=None,
        incarnation="",
        sequence=0,
        reason="",
        facts={},
        bound_at=None,
        ready_at=None,
        heard_at=None,
        deadline=None,
    )

"""What pilots' reports bring about, once they are stored; and what each of them is told of how things stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from flyinglow.backend.lrm.bulletin import Bulletin
from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.jobs.watch import Watch
from flyinglow.backend.lrm.mirror import JobStep, SlotStep, Written
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, JobState, PilotSaid, SlotState
from flyinglow.pilot.messages import Standing

if TYPE_CHECKING:
    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx

_WAITS = frozenset({JobState.REQUESTED, JobState.PENDING})


class Change(Protocol):
    """A report that was stored: the rows as they are now."""

    @property
    def job(self) -> PilotJob:
        """Return the job."""

    @property
    def slot(self) -> Slot:
        """Return the slot."""

    @property
    def said(self) -> PilotSaid:
        """Return what kind of report it was."""

    @property
    def body(self) -> Mapping[str, Any]:
        """Return the report's body."""

    @property
    def contended(self) -> bool:
        """Say whether another pilot claims the slot."""


class Hearing:
    """``heard`` keeps when each pilot last spoke, monotonic; ``extended`` are the slots whose end was moved."""

    def __init__(
        self, desk: Desk, watch: Watch, bulletin: Bulletin, heard: dict[str, float], extended: set[str]
    ) -> None:
        self._desk = desk
        self._watch = watch
        self._bulletin = bulletin
        self._heard = heard
        self._extended = extended
        self._noting: set[str] = set()  # jobs of which it is being noted that they have started
        self._over: set[str] = set()  # the same of those that are over

    def changes(self, changes: Sequence[Change]) -> None:
        """Take in what the intake committed."""
        for change in changes:
            if change.said is PilotSaid.SIGNALLED and change.slot.state is SlotState.PREEMPTING:
                left = _seconds(change.body.get("left"), self._desk.options.grace)
                self._bulletin.signalled(change.slot, left, str(change.body.get("signal", "")))
            if change.contended:
                self._watch.in_turn()
        jobs = {change.job.tag: change.job for change in changes}
        slots: dict[str, Slot] = {}
        for change in changes:
            known = slots.get(change.slot.id)
            if known is None or change.slot.version > known.version:
                slots[change.slot.id] = change.slot
        self._desk.absorb(Written(jobs=tuple(jobs.values()), slots=tuple(slots.values())))

    def heed(self, jobs: Sequence[JobStep], slots: Sequence[SlotStep]) -> None:
        """Draw from slots what they tell of their jobs: that one runs, that one is done."""
        for step in jobs:
            if step.now.unwanted and not (step.before and step.before.unwanted):
                self._watch.jobs.tend()
        for tag in dict.fromkeys(step.now.job for step in slots):
            job, of_job = self._desk.mirror.jobs.get(tag), self._desk.mirror.slots_of(tag)
            if job is None or job.state in JOB_OVER:
                continue
            if all(slot.state in SLOT_OVER for slot in of_job):
                self._note_over(tag)
            elif job.state in _WAITS and tag not in self._noting and any(slot.bound_at for slot in of_job):
                self._noting.add(tag)
                self._desk.spawn(self._started(tag), f"noting that fl-{tag} has started")
        for slot_step in slots:
            if slot_step.now.state in SLOT_OVER:
                self._desk.lines.forget(slot_step.now.id)
                self._extended.discard(slot_step.now.id)
                self._heard.pop(slot_step.now.id, None)

    def tend(self) -> None:
        """Note of each job whose slots are over that it is done, where that could not be noted before."""
        mirror = self._desk.mirror
        for job in mirror.living():
            of_job = mirror.slots_of(job.tag)
            if of_job and not job.unwanted and all(slot.state in SLOT_OVER for slot in of_job):
                self._note_over(job.tag)

    def _note_over(self, tag: str) -> None:
        if tag not in self._over:
            self._over.add(tag)
            self._desk.spawn(self._done(tag), f"noting that the slots of fl-{tag} are over")

    async def _started(self, tag: str) -> None:
        try:
            await self._desk.commit("lrm.started", lambda tx: _started(tx, tag))
        finally:
            self._noting.discard(tag)

    async def _done(self, tag: str) -> None:
        try:
            await self._desk.commit("lrm.over", lambda tx: _done(tx, tag))
        finally:
            self._over.discard(tag)
        self._watch.jobs.tend()
        self._watch.in_turn()

    def standing(self, slot_id: str) -> Standing:
        """Say how things stand for a slot; a slot that is not known is told nothing."""
        self._heard[slot_id] = self._desk.reactor.seconds()
        slot = self._desk.mirror.slots.get(slot_id)
        job = self._desk.mirror.jobs.get(slot.job) if slot else None
        if slot is None or job is None:
            self._heard.pop(slot_id, None)
            return Standing()
        if job.unwanted or job.state in JOB_OVER or slot.state in SLOT_OVER:
            return Standing(end=True, reason=job.reason or slot.reason)
        left = None
        if slot_id in self._extended and slot.deadline is not None:
            left = max(0.0, (slot.deadline - self._desk.now()).total_seconds())
        return Standing(left=left, warned=self._bulletin.warned(slot))


def _started(tx: LrmTx, tag: str) -> Written:
    """Take a pilot's report for the sign that its job runs, before any listing shows it."""
    job = tx.jobs.get(tag)
    if job is None or job.state not in _WAITS:
        return Written()
    bound = [slot.bound_at for slot in tx.slots.select(job=tag) if slot.bound_at is not None]
    if not bound:
        return Written()
    new = replace(job, state=JobState.STARTED, started_at=job.started_at or min(bound), starts_at=None, reason="")
    return Written(jobs=(tx.jobs.write(job, new),))


def _done(tx: LrmTx, tag: str) -> Written:
    """Write the wish to be rid of a job all of whose slots are over."""
    job = tx.jobs.get(tag)
    if job is None or job.unwanted or job.state in JOB_OVER or tx.slots.select(job=tag, living=True):
        return Written()
    reason = next((slot.reason for slot in tx.slots.select(job=tag) if slot.reason), "its slots are over")
    return Written(jobs=(tx.jobs.write(job, replace(job, unwanted=True, state=JobState.ENDING, reason=reason)),))


def _seconds(value: Any, most: float) -> float:
    """Return a pilot's figure when it is one, and no more than the site's."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return most
    return float(value)

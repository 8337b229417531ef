"""Hands jobs to the LRM and takes them back: a submit may be lost and a cancel may fail, the wish stays in the ledger.

A job that is not wanted is cancelled again and again until the LRM lists it no more. Where pilots are up they are asked
first, and have the release patience to give their slots back themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from twisted.internet.defer import DeferredSemaphore

from flyinglow.backend.lrm.desk import Closed, Desk, Timer
from flyinglow.backend.lrm.mirror import Written
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_LIVE, SLOT_OVER, JobState, SlotState
from flyinglow.nodectl.errors import FlyingLowError, TransientError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.model import PilotJob
    from flyinglow.backend.lrm.ports import LrmTx

T = TypeVar("T")
log = structlog.get_logger(__name__)
_WIDTH = 8  # commands of the scheduler at a time


class Jobs:
    """``look`` has a listing made in its turn. ``submitting`` are the jobs whose submit is under way."""

    def __init__(self, desk: Desk, look: Callable[[], None]) -> None:
        self._desk = desk
        self._look = look
        self.submitting: set[str] = set()
        self.refusals: dict[str, FlyingLowError] = {}  # by tag, for as long as a claim may ask
        self.failures: dict[str, str] = {}  # of cancels, by tag
        self._cancelling: set[str] = set()
        self._since: dict[str, float] = {}  # unwanted since, monotonic
        self._next_cancel: dict[str, float] = {}
        self._timer: Timer | None = None
        self._width = DeferredSemaphore(_WIDTH)

    # submit

    def submit(self, jobs: Iterable[PilotJob]) -> None:
        """Hand jobs over that were just written down, side by side."""
        for job in jobs:
            if job.tag not in self.submitting:
                self.submitting.add(job.tag)
                self._desk.spawn(self._submit(job), f"the submission of fl-{job.tag}")

    async def _submit(self, job: PilotJob) -> None:
        desk = self._desk
        try:
            request = desk.pilots.request(job, desk.mirror.slots_of(job.tag))
            lrm_id = await self._in_turn(lambda: desk.lrm.submit(request))
        except TransientError as error:
            words = error.message
            await desk.commit("lrm.unsure", lambda tx: _unsure(tx, job.tag, words))
            self._look()
            log.warning("it is not known whether a job was accepted", job=job.tag, error=words)
        except FlyingLowError as error:
            self.refusals[job.tag] = error
            words = f"the batch scheduler refused the job: {error.message}"
            await desk.commit("lrm.refused", lambda tx: self._refused(tx, job.tag, words))
        else:
            await desk.commit("lrm.submitted", lambda tx: _submitted(tx, job.tag, lrm_id))
            self._look()
        finally:
            self.submitting.discard(job.tag)
        self.tend()

    def _refused(self, tx: LrmTx, tag: str, words: str) -> Written:
        job = tx.jobs.get(tag)
        if job is None or job.state in JOB_OVER:
            return Written()
        now = self._desk.now()
        over = replace(job, state=JobState.LOST, reason=words, over_at=now)
        slots = [
            tx.slots.write(slot, replace(slot, state=SlotState.LOST, reason=words, over_at=now))
            for slot in tx.slots.select(job=tag, living=True)
        ]
        return Written(jobs=(tx.jobs.write(job, over),), slots=tuple(slots))

    # cancel

    def tend(self) -> None:
        """See after every job that is not wanted: cancel what is due, and come back for what is not yet."""
        now, wait = self._desk.reactor.seconds(), None
        living = {job.tag: job for job in self._desk.mirror.living() if job.unwanted}
        for known in (self._since, self._next_cancel, self.failures):
            for tag in set(known) - set(living):
                known.pop(tag, None)
        for tag, job in living.items():
            due = self._due(job, now)
            if due <= now and tag not in self._cancelling and job.lrm_id is not None:
                self._cancelling.add(tag)
                self._desk.spawn(self._cancel(job, job.lrm_id), f"the cancelling of fl-{tag}")
            elif due > now:
                wait = min(wait or due, due)
        if wait is not None and not self._desk.closed:
            self._come_back(wait - now)

    def _due(self, job: PilotJob, now: float) -> float:
        """Return when a job is to be cancelled (again): at once, unless pilots are there to give back by themselves."""
        since = self._since.setdefault(job.tag, now)
        live = any(slot.state in SLOT_LIVE for slot in self._desk.mirror.slots_of(job.tag))
        over = all(slot.state in SLOT_OVER for slot in self._desk.mirror.slots_of(job.tag))
        patience = self._desk.options.release_patience if live else self._desk.options.poll if over else 0.0
        return max(since + patience, self._next_cancel.get(job.tag, 0.0))

    def _come_back(self, seconds: float) -> None:
        self._desk.never_mind(self._timer)
        self._timer = self._desk.later(max(seconds, 0.05), self.tend)

    async def _cancel(self, job: PilotJob, lrm_id: str) -> None:
        desk = self._desk
        try:
            await self.cancel_id(lrm_id)
            self.failures.pop(job.tag, None)
        except FlyingLowError as error:
            self.failures[job.tag] = error.message
            log.warning("a job could not be cancelled and will be again", job=job.tag, error=error.message)
        finally:
            self._cancelling.discard(job.tag)
            self._next_cancel[job.tag] = desk.reactor.seconds() + desk.options.poll
        self._look()
        self.tend()

    def forget(self) -> None:
        """Keep no words of jobs that nobody can ask for any more."""
        for tag in set(self.refusals) - self._desk.mirror.jobs.keys():
            del self.refusals[tag]

    async def cancel_id(self, lrm_id: str) -> None:
        """Cancel by the LRM's own id. Raises what the LRM raises."""
        await self._in_turn(lambda: self._desk.lrm.cancel(lrm_id))

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do one of many things at once, in its turn."""
        await self._width.acquire()
        try:
            if self._desk.closed:
                raise Closed
            return await work()
        finally:
            self._width.release()


def _unsure(tx: LrmTx, tag: str, words: str) -> Written:
    job = tx.jobs.get(tag)
    if job is None or job.lrm_id is not None or job.state in JOB_OVER:
        return Written()
    reason = job.reason if job.unwanted else words
    return Written(jobs=(tx.jobs.write(job, replace(job, attempts=job.attempts + 1, reason=reason)),))


def _submitted(tx: LrmTx, tag: str, lrm_id: str) -> Written:
    job = tx.jobs.get(tag)
    if job is None or job.lrm_id is not None:
        return Written()
    state = JobState.PENDING if job.state is JobState.REQUESTED else job.state
    reason = job.reason if job.unwanted else ""
    return Written(jobs=(tx.jobs.write(job, replace(job, lrm_id=lrm_id, state=state, attempts=0, reason=reason)),))

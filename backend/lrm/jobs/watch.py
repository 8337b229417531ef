"""Looks at the LRM: one listing for all jobs, at most one in each interval, fewer while every pilot reports.

Two things alone call for one before its time, since they cannot wait: the LRM's notice to a pilot, whose reason the
lessee is to be told within the grace period, and an operator's word. Such a listing is shared by all who ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog
from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.desk import Desk, Timer
from flyinglow.backend.lrm.jobs.guard import Guard
from flyinglow.backend.lrm.jobs.listing import Finding, Listing, by_tag, judge
from flyinglow.backend.lrm.jobs.strays import Strays
from flyinglow.backend.lrm.jobs.submitting import Jobs
from flyinglow.backend.lrm.mirror import Written, everything
from flyinglow.backend.lrm.states import SLOT_LIVE, JobState, SlotState
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.pilot.messages import LONG_POLL

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobView
    from flyinglow.backend.lrm.ports import LrmTx

log = structlog.get_logger(__name__)
_APART = 1.0  # seconds between two listings, whoever asks
_CALM = 4  # times the interval while every pilot reports; more where there is no job
_IDLE = 10


class Watch:
    """``heard`` maps a slot to when its pilot last spoke, monotonic; ``after`` is called after each listing."""

    def __init__(self, desk: Desk, heard: dict[str, float], after: Callable[[], None]) -> None:
        self._desk = desk
        self._heard = heard
        self._after = after
        self.guard = Guard(desk.options.guard_share, desk.options.guard_least)
        self.jobs = Jobs(desk, self.in_turn)
        self.strays = Strays(desk.options.stray_grace)
        self.views: dict[str, JobView] = {}
        self.listings = 0
        self.failure = ""  # why the last listing failed
        self._missed: dict[str, int] = {}
        self._asked: list[Deferred[None]] = []
        self._next: Timer | None = None
        self._due = float("inf")
        self._begun = float("-inf")
        self._looking = False
        self._hasty = False  # something called for the next look

    def soon(self, seconds: float = 0.0) -> None:
        """Have a listing made within so many seconds, when none is due before."""
        self._hasty = True
        self._schedule(seconds)

    def in_turn(self) -> None:
        """Have a listing made as soon as the interval allows, though nothing else calls for it."""
        self._hasty = True
        self._schedule(0.0, self._desk.options.poll)

    def _regularly(self) -> None:
        self._schedule(self._desk.options.poll)

    def _schedule(self, seconds: float, apart: float = _APART) -> None:
        desk = self._desk
        now = desk.reactor.seconds()
        due = max(now + seconds, self._begun + apart)
        if desk.closed or (self._next is not None and self._due <= due):
            return
        desk.never_mind(self._next)
        self._due = due
        self._next = desk.later(due - now, self._turn)

    async def look(self, within: float, apart: float = _APART) -> None:
        """Return when a listing that begins from now on was taken in, or after so many seconds.

        It begins ``apart`` seconds after the one before.
        """
        waiter: Deferred[None] = Deferred()
        self._asked.append(waiter)
        waiter.addTimeout(within, self._desk.reactor, lambda _failure, _seconds: None)
        self._hasty = True
        self._schedule(0.0, apart)
        await waiter

    def _turn(self) -> None:
        self._next, self._due = None, float("inf")
        if self._looking:
            self.soon(_APART)
        elif not self._asked and not self._hasty and self._may_wait():
            self._regularly()
        else:
            self._hasty = False
            self._looking = True
            self._desk.spawn(self._pass(), "a look at the batch scheduler")

    async def _pass(self) -> None:
        asked, self._asked = self._asked, []
        self._begun = self._desk.reactor.seconds()
        could = self._could_show()
        self.listings += 1
        try:
            views = await self._desk.lrm.list()
            self.failure = ""
            await self._take(views, could)
        except FlyingLowError as error:
            self.failure = error.message
            log.warning("the batch scheduler could not be asked for its jobs", error=error.message)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._looking = False
            for one in asked:
                if not one.called:
                    one.callback(None)
            self._regularly()
        self._after()

    def _may_wait(self) -> bool:
        """Say whether nothing is missed when this look is left out."""
        since: float = self._desk.reactor.seconds() - self._begun
        return since < self.interval() - _APART

    def _could_show(self) -> set[str]:
        """Return the jobs whose submit was over before the listing began."""
        return {job.tag for job in self._desk.mirror.living()} - self.jobs.submitting

    def interval(self) -> float:
        """Return the seconds between two listings that nothing calls for."""
        poll, living = self._desk.options.poll, self._desk.mirror.living()
        if not living:
            return poll * _IDLE
        calm = all(job.state is JobState.STARTED and self._is_calm(job.tag) for job in living)
        return poll * _CALM if calm and not self.failure else poll

    def _is_calm(self, tag: str) -> bool:
        since = self._desk.reactor.seconds() - 2 * LONG_POLL
        slots = self._desk.mirror.slots_of(tag)
        return all(slot.state is SlotState.READY and self._heard.get(slot.id, since) > since for slot in slots)

    # taking a listing in

    async def _take(self, views: Sequence[JobView], could: set[str]) -> None:
        desk = self._desk
        known = {job.tag: job.lrm_id for job in desk.mirror.living()}
        self.views, found = by_tag(views, known)
        self._missed = {tag: self._missed.get(tag, 0) + 1 for tag in could if tag not in self.views}
        listing = Listing(
            views=self.views, missed=dict(self._missed), at=desk.now(), submit_grace=desk.options.submit_grace
        )
        strays = self.strays.due(found, desk.reactor.seconds(), self.jobs.submitting)
        findings = judge(await desk.ledger.read(everything), listing)
        loud = self._may_lose(findings, strays)
        allowed = [finding for finding in findings if loud or not finding.lost]
        await self._write(listing, "lrm.listed", frozenset(f.old.tag for f in allowed if not f.resubmit))
        await self._write(listing, "lrm.resubmit", frozenset(f.old.tag for f in allowed if f.resubmit))
        if loud:
            for view in strays:
                desk.spawn(self._reap(view), "the reaping of a job without a row")
        if self._is_in_doubt():
            self.in_turn()

    def _is_in_doubt(self) -> bool:
        """Say whether a job that was listed is missing for the first time: a second look makes sure."""
        jobs = self._desk.mirror.jobs
        return any(missed == 1 and tag in jobs and jobs[tag].listed_at for tag, missed in self._missed.items())

    def _may_lose(self, findings: Sequence[Finding], strays: Sequence[JobView]) -> bool:
        """Ask the guard."""
        what = {f.old.tag: f.new.reason for f in findings if f.lost}
        what |= {view.lrm_id: f"a job by our name {view.tag!r} that nobody asked for" for view in strays}
        lost = sum(f.lost for f in findings) + sum(max(1, len(view.nodes)) for view in strays)
        live = sum(slot.state in SLOT_LIVE for slot in self._desk.mirror.slots.values())
        passes = self.guard.passes(what, lost, live)
        if not passes:
            log.critical("too many slots would be lost at once; an operator's word is needed", lost=lost, live=live)
        return passes

    async def _write(self, listing: Listing, step: str, tags: frozenset[str]) -> None:
        if tags:
            written = await self._desk.commit(step, partial(_written, listing, tags))
            again = [job for job in written.jobs if step == "lrm.resubmit"]
            for job in again:
                self._missed.pop(job.tag, None)
            self.jobs.submit(again)

    async def _reap(self, view: JobView) -> None:
        log.warning("a job that nobody asked for is cancelled", lrm_id=view.lrm_id, tag=view.tag)
        await self.jobs.cancel_id(view.lrm_id)


def _written(listing: Listing, tags: frozenset[str], tx: LrmTx) -> Written:
    """Judge once more, over the rows as they are now, and write what these jobs become."""
    jobs, slots = [], []
    for found in judge(everything(tx), listing):
        if found.old.tag in tags:
            jobs.append(tx.jobs.write(found.old, found.new))
            slots += [tx.slots.write(old, new) for old, new in found.slots]
    return Written(jobs=tuple(jobs), slots=tuple(slots))

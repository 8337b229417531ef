"""Tells the core what happens to claims: why they wait, that their places are about to go, that they are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.backend.lrm import words
from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, JobState, SlotState

if TYPE_CHECKING:
    from flyinglow.backend.lrm.jobs.watch import Watch
    from flyinglow.backend.lrm.mirror import JobStep, SlotStep
    from flyinglow.backend.lrm.model import PilotJob, Slot

_SLACK = 60.0  # seconds by which an estimate may move before it is news
_PATIENCE = 1.0  # seconds for the listing that tells why nodes go; the news does not wait longer for it
_URGENT = 0.1  # seconds between that listing and the one before
_GIVEN = frozenset({SlotState.RELEASING, *SLOT_OVER})
_QUEUED = frozenset({JobState.REQUESTED, JobState.PENDING})


class Bulletin:
    """``tell`` is the core's ear, on the reactor. Who ``waits`` for a claim hears of its end by ``acquire``.

    ``doomed`` is called with a job whose pilots were signalled, and why, as soon as that is known.
    """

    def __init__(
        self,
        desk: Desk,
        watch: Watch,
        tell: Callable[[ClaimNews], None],
        waits: Callable[[str], bool],
        doomed: Callable[[str, str], None],
    ) -> None:
        self._desk = desk
        self._watch = watch
        self._tell = tell
        self._waits = waits
        self._doomed = doomed
        self._told: dict[str, tuple[str, float | None]] = {}  # key -> reason, monotonic start
        self.kills_at: dict[str, float] = {}  # job -> when the LRM kills, monotonic

    def heed(self, jobs: Sequence[JobStep], slots: Sequence[SlotStep]) -> None:
        """Tell of jobs that wait and of slots that went."""
        for step in jobs:
            if step.now.state in JOB_OVER or (step.before and step.now.epoch > step.before.epoch):
                self.kills_at.pop(step.now.tag, None)
            for key in self._desk.mirror.users_of_job(step.now.tag):
                self._waiting(key)
        gone: dict[str, list[Slot]] = {}
        for slot_step in slots:
            if slot_step.now.state in _GIVEN and self._is_news(slot_step):
                gone.setdefault(slot_step.now.job, []).append(slot_step.now)
        for tag, of_job in gone.items():
            by_key = self._by_key(of_job)
            if by_key:
                self._desk.spawn(self._lost(tag, by_key), "telling that nodes are gone")

    def _is_news(self, step: SlotStep) -> bool:
        """Say whether a slot went just now, or while the service was away.

        Of the latter those are no news that were never ready: no claim was granted with them, and who asks for that
        claim again hears by ``acquire``.
        """
        if step.before is not None:
            return step.before.state not in _GIVEN
        return step.now.ready_at is not None

    def _by_key(self, slots: Sequence[Slot]) -> dict[str, list[str]]:
        """Return the slots by the claims that use them and have been granted."""
        by_key: dict[str, list[str]] = {}
        for slot in slots:
            for key in self._desk.mirror.users(slot.id):
                if not self._waits(key):
                    by_key.setdefault(key, []).append(slot.id)
        return by_key

    # waiting

    def _waiting(self, key: str) -> None:
        """Tell why a claim waits, when that has changed."""
        mirror = self._desk.mirror
        tags = dict.fromkeys(slot.job for slot in mirror.slots_used_by(key))
        queued = [job for tag in tags if (job := mirror.jobs.get(tag)) and job.state in _QUEUED and not job.unwanted]
        if not queued:
            self._told.pop(key, None)
        queued = [job for job in queued if job.listed_at or job.attempts]  # of the others nothing is known yet
        if not queued:
            return
        estimates = [self._starts_in(job) for job in queued]
        starts_in = None if None in estimates else max(seconds for seconds in estimates if seconds is not None)
        self.say_waiting(key, words.waiting(queued[0]), starts_in)

    def say_waiting(self, key: str, reason: str, starts_in: float | None = None) -> None:
        """Tell why a claim waits, unless that was the last word."""
        starts = None if starts_in is None else self._desk.reactor.seconds() + starts_in
        old = self._told.get(key)
        if old is not None and old[0] == reason and _near(old[1], starts):
            return
        self._told[key] = (reason, starts)
        self._tell(ClaimNews(key=key, topic=ClaimTopic.WAITING, reason=reason, starts_in=starts_in))

    def forget(self) -> None:
        """Keep no words of claims that hold nothing any more."""
        for key in self._told.keys() - self._desk.mirror.uses.keys():
            del self._told[key]
        for tag in self.kills_at.keys() - self._desk.mirror.jobs.keys():
            del self.kills_at[tag]

    def _starts_in(self, job: PilotJob) -> float | None:
        return max(0.0, (job.starts_at - self._desk.now()).total_seconds()) if job.starts_at else None

    # ending

    def signalled(self, slot: Slot, left: float, signal: str) -> None:
        """Take note that a pilot was signalled: the first of a job has the others warned and the core told."""
        known = self.kills_at.get(slot.job)
        at = self._desk.reactor.seconds() + left
        self.kills_at[slot.job] = at if known is None else min(known, at)
        if known is None:
            self._desk.wake([one.id for one in self._desk.mirror.slots_of(slot.job) if one.id != slot.id])
            keys = [key for key in self._desk.mirror.users_of_job(slot.job) if not self._waits(key)]
            self._desk.spawn(self._ending(slot, signal, keys), "telling that nodes are about to go")

    async def _ending(self, slot: Slot, signal: str, keys: Sequence[str]) -> None:
        await self._watch.look(_PATIENCE, _URGENT)
        mirror, options = self._desk.mirror, self._desk.options
        job, view = mirror.jobs.get(slot.job), self._watch.views.get(slot.job)
        left = self.kills_at.get(slot.job, 0.0) - self._desk.reactor.seconds()
        if job is None:
            return
        seconds = max(0.0, left - options.grace * (1 - options.share))
        reason = words.ending(job, view, signal, slot.node or "")
        self._doomed(slot.job, reason)
        for key in sorted(set(keys) & set(mirror.users_of_job(slot.job))):
            places = frozenset(one.place for one in mirror.slots_used_by(key) if one.job == slot.job and one.node)
            self._tell(ClaimNews(key=key, topic=ClaimTopic.ENDING, reason=reason, places=places, seconds=seconds))

    def warned(self, slot: Slot) -> float | None:
        """Return the seconds that a slot has left whose job was signalled; None when it was not."""
        at = self.kills_at.get(slot.job)
        return None if at is None else max(0.0, at - self._desk.reactor.seconds())

    # lost

    async def _lost(self, tag: str, by_key: Mapping[str, Sequence[str]]) -> None:
        mirror = self._desk.mirror
        job = mirror.jobs.get(tag)
        if job is not None and job.state not in JOB_OVER and not job.unwanted:
            await self._watch.look(_PATIENCE)
            job = mirror.jobs.get(tag, job)
        for key, ids in by_key.items():
            slots = [mirror.slots[one] for one in ids if key in mirror.users(one)]
            if slots:
                self._tell(self._gone(key, job, slots))

    def _gone(self, key: str, job: PilotJob | None, slots: Sequence[Slot]) -> ClaimNews:
        reason = words.slot_lost(job, slots[0])
        if job is not None and job.state in JOB_OVER and job.reason and job.reason not in reason:
            reason = f"{job.reason}; {reason}"
        places = frozenset(slot.place for slot in slots if slot.node)
        return ClaimNews(key=key, topic=ClaimTopic.LOST, reason=reason, places=places)


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < _SLACK

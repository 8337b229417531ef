"""Longer than asked for: inside the limit that a job has already, or by raising it where the site lets our user."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.jobs.pilots import held
from flyinglow.backend.lrm.mirror import Written, tags_of
from flyinglow.backend.lrm.states import SLOT_LIVE
from flyinglow.nodectl.durations import words
from flyinglow.nodectl.errors import DeniedError, UnknownError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx


class Extension:
    """``extended`` are the slots whose pilots have to be told of another end than the one they started with."""

    def __init__(self, desk: Desk, extended: set[str]) -> None:
        self._desk = desk
        self._extended = extended

    async def extend(self, key: str, seconds: float) -> float:
        """See ``Extends.extend``. Raises UnknownError for a claim without places."""
        await self._desk.loaded()
        slots = self._desk.mirror.slots_used_by(key)
        if not slots:
            raise UnknownError("the claim holds no nodes")
        longest = self.left(slots)
        if seconds <= longest:
            return longest
        if self._desk.options.extend != "operator":
            raise self._denied(seconds, longest, "this site does not raise the limits of jobs that run")
        for tag in tags_of(slots):
            await self._raise(self._desk.mirror.jobs[tag], seconds, longest)
        return self.left(self._desk.mirror.slots_used_by(key))

    def left(self, slots: Sequence[Slot]) -> float:
        """Return for how long all of these are held from now on."""
        return max(0.0, min(self._left(slot) for slot in slots))

    def _left(self, slot: Slot) -> float:
        now, job = self._desk.now(), self._desk.mirror.jobs[slot.job]
        if slot.state not in SLOT_LIVE or slot.deadline is None:
            return 0.0
        end = slot.deadline
        if job.ends_at is not None:
            end = min(end, job.ends_at)
        return (end - now).total_seconds()

    async def _raise(self, job: PilotJob, seconds: float, longest: float) -> None:
        """Have the LRM raise a job's limit so that its slots last; their pilots' own ends move with it."""
        options, now = self._desk.options, self._desk.now()
        if job.lrm_id is None or job.started_at is None:
            raise self._denied(seconds, longest, "the job has not started")
        gone = math.ceil((now - job.started_at).total_seconds())
        wanted = gone + math.ceil(seconds + options.grace)
        wanted = max(wanted, job.seconds)
        most = self._desk.sizes().longest
        if most is not None and wanted > most:
            raise self._denied(
                seconds, max(longest, most - gone - options.grace), f"no job may take more than {most} s"
            )
        try:
            await self._desk.lrm.extend(job.lrm_id, wanted)
        except DeniedError as error:
            raise self._denied(seconds, longest, error.message) from error
        written = await self._desk.commit("lrm.extend", lambda tx: self._extend(tx, job.tag, wanted, seconds))
        self._extended.update(slot.id for slot in written.slots)
        self._desk.wake([slot.id for slot in written.slots])

    def _extend(self, tx: LrmTx, tag: str, limit: int, seconds: float) -> Written:
        job, now = tx.jobs.get(tag), self._desk.now()
        if job is None:
            return Written()
        started = job.started_at or now
        new = replace(job, seconds=limit, ends_at=started + timedelta(seconds=limit))
        latest = started + timedelta(seconds=held(new, self._desk.options.grace))
        end = max(now + timedelta(seconds=seconds), latest)
        slots = tuple(
            tx.slots.write(slot, replace(slot, deadline=end))
            for slot in tx.slots.select(job=tag, living=True)
            if slot.state in SLOT_LIVE
        )
        return Written(jobs=(tx.jobs.write(job, new),), slots=slots)

    def _denied(self, seconds: float, longest: float, why: str) -> DeniedError:
        whole = max(0, math.floor(longest))
        asked, most = words(math.ceil(seconds)), words(whole)
        message = f"{asked} from now on are not to be had: {why}. The longest possible is {most} from now."
        return DeniedError(message, {"longest": whole, "asked": math.ceil(seconds)})

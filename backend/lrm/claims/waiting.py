"""Claims that wait for their slots: asked for once, granted when all are ready, refused in the words of who refused.

Who waits may go away and come back, or never: the claim stays in the ledger until it is released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from flyinglow.backend.api import Grant, NodeState
from flyinglow.backend.lrm import words
from flyinglow.backend.lrm.claims.holding import Holding, back_off
from flyinglow.backend.lrm.claims.planning import Planner, Wear, gave_way, released
from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, SlotState
from flyinglow.nodectl.errors import BrokenError, ConflictError, FlyingLowError, TransientError

if TYPE_CHECKING:
    from flyinglow.backend.api import Claim
    from flyinglow.backend.lrm.jobs.submitting import Jobs
    from flyinglow.backend.lrm.mirror import JobStep, SlotStep
    from flyinglow.backend.lrm.model import Slot

_GIVEN_UP = frozenset({*SLOT_OVER, SlotState.PREEMPTING, SlotState.RELEASING})
_AGAIN = 5.0  # seconds until a ledger that did not answer is asked again


@dataclass(slots=True)
class Entry:
    """A claim that somebody waits for. ``gave_way``: how often it queued again; ``resting``: it waits to do so."""

    claim: Claim
    since: float
    waiters: list[Deferred[Mapping[str, Grant]]] = field(default_factory=list)
    held_since: float | None = None
    gave_way: int = 0
    resting: bool = False


class Claims:
    """``planner()`` gives one for now. ``queued`` is called with the key of a claim that queues again, and why."""

    def __init__(
        self, desk: Desk, jobs: Jobs, planner: Callable[[], Planner], queued: Callable[[str, str], None]
    ) -> None:
        self._desk = desk
        self._jobs = jobs
        self._planner = planner
        self._queued = queued
        self._entries: dict[str, Entry] = {}
        self._dooms: dict[str, str] = {}  # job whose pilots were signalled -> why

    async def acquire(self, claim: Claim) -> Mapping[str, Grant]:
        """See ``Backend.acquire``."""
        await self._desk.loaded()
        entry = self._entries.setdefault(claim.key, Entry(claim, self._desk.reactor.seconds()))
        waiter: Deferred[Mapping[str, Grant]] = Deferred()
        entry.waiters.append(waiter)
        if len(entry.waiters) == 1 and not entry.resting:
            self._desk.spawn(self._ask(entry), "asking for a claim's nodes")
        try:
            return await waiter
        finally:
            if waiter in entry.waiters:  # whoever waited was stopped
                entry.waiters.remove(waiter)
            self._forget(entry)

    async def _ask(self, entry: Entry) -> None:
        key = entry.claim.key
        try:
            planner = self._planner()
            written = await self._desk.commit("lrm.request", partial(planner.claim, entry.claim))
        except Exception as error:
            if isinstance(error, FlyingLowError) and not isinstance(error, TransientError):
                self._fail(key, error)
                return
            self._desk.later(_AGAIN, lambda: self._ask_again(entry))  # the ledger does not answer, or nobody knows why
            raise
        if self._entries.get(key) is not entry:  # released meanwhile: what was written is given back again
            await self.give_back(key)
            return
        self._jobs.submit(written.jobs)
        self.settle(key)

    def _ask_again(self, entry: Entry) -> None:
        if self._entries.get(entry.claim.key) is entry:
            self._desk.spawn(self._ask(entry), "asking for a claim's nodes once more")

    # what becomes of it

    def heed(self, jobs: Sequence[JobStep], slots: Sequence[SlotStep]) -> None:
        """Look at the waiting claims whose jobs or slots changed."""
        mirror = self._desk.mirror
        touched = {key for step in slots for key in mirror.users(step.now.id)}
        touched |= {key for step in jobs for key in mirror.users_of_job(step.now.tag)}
        for key in sorted(touched & self._entries.keys()):
            self.settle(key)
        for step in jobs:
            if step.now.state in JOB_OVER:
                self._dooms.pop(step.now.tag, None)

    def doom(self, tag: str, reason: str) -> None:
        """Take note why the LRM ends a job, and refuse the claims that wait for its nodes."""
        self._dooms[tag] = reason
        for key in self._desk.mirror.users_of_job(tag):
            self.settle(key)

    def settle(self, key: str) -> None:
        """Grant a claim when all its slots are ready; refuse it when one of them cannot be had any more."""
        entry, slots = self._entries.get(key), self._desk.mirror.slots_used_by(key)
        if entry is None or not slots or entry.resting:
            return
        for slot in slots:
            refusal = self._refusal(slot)
            if refusal is not None:
                self._fail(key, refusal)
                return
        ready = [slot for slot in slots if slot.state is SlotState.READY]
        if ready and entry.held_since is None:
            entry.held_since = self._desk.reactor.seconds()
        if len(ready) < len(slots):
            return
        wear = self._wear(entry, 0.0)
        if self._worn(wear):
            self._desk.spawn(self._renew(entry, wear), "replacing nodes that aged too much")
        else:
            self._grant(entry)

    def _wear(self, entry: Entry, spare: float) -> Wear:
        least = entry.claim.request.duration + spare
        return Wear(claim=entry.claim.key, now=self._desk.now(), least=least, patience=self._desk.options.poll)

    def _worn(self, wear: Wear) -> bool:
        """Say whether a slot of the claim has aged too much while others were waited for."""
        mirror = self._desk.mirror
        return any(wear.of(slot, mirror.jobs.get(slot.job)) for slot in mirror.slots_used_by(wear.claim))

    async def renew(self) -> None:
        """Replace what would end under claims that wait, a round before it is too late; look anew at all others."""
        self._dooms = {tag: why for tag, why in self._dooms.items() if tag in self._desk.mirror.jobs}
        for entry in list(self._entries.values()):
            await self._desk.attempt(self._look_after(entry), "looking after a claim that waits")

    async def _look_after(self, entry: Entry) -> None:
        wear = self._wear(entry, self._desk.options.poll)
        if not entry.resting and self._worn(wear):
            await self._renew(entry, wear)
        else:
            self.settle(entry.claim.key)

    async def _renew(self, entry: Entry, wear: Wear) -> None:
        key, planner = entry.claim.key, self._planner()
        try:
            written = await self._desk.commit("lrm.renew", lambda tx: planner.renew(entry.claim, wear, tx))
        except TransientError:  # the ledger does not answer: the next round tries again
            raise
        except FlyingLowError as error:
            self._fail(key, error)
            return
        if self._entries.get(key) is not entry:  # released meanwhile: what was written is given back again
            await self.give_back(key)
            return
        self._jobs.submit([job for job in written.jobs if not job.unwanted])
        self._jobs.tend()
        self.settle(key)

    def _refusal(self, slot: Slot) -> FlyingLowError | None:
        """Say why a slot cannot be had any more: in the LRM's words, the operator's doing, or a failure."""
        job = self._desk.mirror.jobs.get(slot.job)
        gone = job is None or job.unwanted or job.state in JOB_OVER or slot.state in _GIVEN_UP
        if not gone:
            return None
        if job is not None and words.had_notice(slot) and not job.unwanted and job.state not in JOB_OVER:
            doom = self._dooms.get(slot.job)  # it comes within a moment
            return ConflictError(doom) if doom else None
        if job is None:
            return BrokenError(f"the job of {slot.id} is not on record any more")
        refused = self._jobs.refusals.get(slot.job)
        if refused is not None:
            return refused
        message = f"{words.job_name(job)} ended before all its nodes were ready: {words.slot_lost(job, slot)}"
        taken = job.unwanted or words.had_notice(slot)
        return ConflictError(message) if taken or words.was_taken(job) else BrokenError(message)

    def _grant(self, entry: Entry) -> None:
        grants = self.grants(entry.claim.key)
        for waiter in _emptied(entry.waiters):
            waiter.callback(grants)

    def grants(self, key: str) -> Mapping[str, Grant]:
        """Return the places of a claim's members."""
        mirror = self._desk.mirror
        return {row.member: self._granted(mirror.slots[row.slot]) for row in mirror.uses.get(key, ())}

    def _granted(self, slot: Slot) -> Grant:
        job, options = self._desk.mirror.jobs[slot.job], self._desk.options
        # a pilot may speak before a listing shows that its job was started
        started = min((at for at in (job.started_at, slot.bound_at) if at is not None), default=None)
        times = {"scheduled": started, "launched": slot.bound_at, "adapted": slot.ready_at}
        node = NodeState(
            name=slot.place,
            memory_mb=slot.memory_mb,
            cpus=slot.cpus,
            disk_mb=options.node_disk_mb,
            networks=options.bridges(),
        )
        return Grant(node=node, stamps={name: at for name, at in times.items() if at is not None})

    def _fail(self, key: str, error: FlyingLowError) -> None:
        entry = self._entries.get(key)
        for waiter in _emptied(entry.waiters) if entry else ():
            waiter.errback(error)

    def _forget(self, entry: Entry) -> None:
        if not entry.waiters and self._entries.get(entry.claim.key) is entry:
            del self._entries[entry.claim.key]

    # giving back

    def waits(self, key: str) -> bool:
        """Say whether somebody waits for a claim."""
        return key in self._entries

    async def release(self, key: str) -> None:
        """See ``Backend.release``."""
        await self._desk.loaded()
        self._fail(key, ConflictError("the claim was released while it waited"))
        await self.give_back(key)

    async def give_back(self, key: str, reason: str = "its workspaces are over") -> None:
        """Take a claim out of the ledger, and have the jobs ended that nobody needs any more."""
        planner = self._planner()
        await self._desk.commit("lrm.release", lambda tx: released(tx, key, planner, reason))
        self._jobs.tend()

    # competition

    def holdings(self) -> list[Holding]:
        """Return the claims that wait, with what they hold."""
        now, made = self._desk.reactor.seconds(), []
        for key, entry in self._entries.items():
            slots = self._desk.mirror.slots_used_by(key)
            ready = sum(slot.state is SlotState.READY for slot in slots)
            held = now - entry.held_since if entry.held_since is not None else 0.0
            if slots and not entry.resting:
                made.append(
                    Holding(claim=key, age=self._age(entry), ready=ready, missing=len(slots) - ready, held=held)
                )
        return made

    def _age(self, entry: Entry) -> float:
        """Return the seconds since a claim first asked, before a restart of the service too."""
        asked = [job.requested_at for job in self._desk.mirror.jobs.values() if job.claim == entry.claim.key]
        known: float = max(((self._desk.now() - at).total_seconds() for at in asked), default=0.0)
        waited: float = self._desk.reactor.seconds() - entry.since
        return max(known, waited)

    async def queue_again(self, key: str, limit: float) -> None:
        """Give back all that a claim holds, and ask for it anew after its back-off."""
        entry = self._entries.get(key)
        if entry is None or entry.resting:
            return
        wait = back_off(entry.gave_way + 1)
        reason = f"after {limit:g} s it gave its nodes back to an older request, and queues again in {wait:g} s"
        entry.resting = True
        try:
            written = await self._desk.commit("lrm.queue_again", lambda tx: gave_way(tx, key, reason))
        except Exception:
            self._rested(entry)
            raise
        if not written:  # its last node came just now
            self._rested(entry)
            return
        entry.gave_way, entry.held_since = entry.gave_way + 1, None
        self._queued(key, reason)
        self._jobs.tend()
        self._desk.later(wait, lambda: self._rested(entry))

    def _rested(self, entry: Entry) -> None:
        entry.resting = False
        self._ask_again(entry)


def _emptied(waiters: list[Deferred[Mapping[str, Grant]]]) -> list[Deferred[Mapping[str, Grant]]]:
    taken = list(waiters)
    waiters.clear()
    return taken

"""What a claim gets: free slots that the policy takes, and jobs to be asked for; one function of a transaction each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.claims.free import ASKED, Figures, free_slots, holdings
from flyinglow.backend.lrm.mirror import Written, by_claim, everything
from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot
from flyinglow.backend.lrm.states import JobState, SlotState

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.backend.api import Claim, Request
    from flyinglow.backend.lrm.model import Component
    from flyinglow.backend.lrm.policy.api import Policy, Wanted
    from flyinglow.backend.lrm.ports import LrmTx


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What planning needs beside the rows; ``tag`` and ``key`` make new ones.

    ``hold`` is for how many seconds a claim may hold some nodes while it waits for others.
    """

    policy: Policy
    figures: Figures
    hold: int
    splits: Callable[[tuple[Component, ...]], tuple[tuple[Component, ...], ...]]
    tag: Callable[[], str]
    key: Callable[[], str]

    def claim(self, claim: Claim, tx: LrmTx) -> Written:
        """Give a claim its slots, and write down the jobs it needs; what it has already stays.

        Raises NeverError when the policy says that it cannot be had.
        """
        has = tx.assignments.select(claim=claim.key)
        return Written(claims=by_claim(has)) if has else self._laid_out(claim.key, claim.request, (), tx)

    def renew(self, claim: Claim, wear: Wear, tx: LrmTx) -> Written:
        """Give a claim others for those of its slots that are too old; what it has beside them stays.

        Raises NeverError when the policy says that they cannot be had.
        """
        has = tx.assignments.select(claim=claim.key)
        slots = tx.slots.select(ids=sorted({row.slot for row in has})) if has else []
        old = {slot.id: slot.job for slot in slots if wear.of(slot, tx.jobs.get(slot.job))}
        if not old:
            return Written()
        kept = tuple(row for row in has if row.slot not in old)
        tx.assignments.remove(claim=claim.key)
        tx.assignments.add(kept)  # before the policy looks at what is free
        dropped = unwanted(
            tx, _left_over(tx, claim.key, set(old.values())), "it aged too much while others were waited for"
        )
        keeps = {row.member for row in kept}
        demands = tuple(demand for demand in claim.request.demands if demand.member not in keeps)
        made = self._laid_out(claim.key, replace(claim.request, demands=demands), kept, tx)
        return replace(made, jobs=(*dropped, *made.jobs))

    def _laid_out(self, key: str, request: Request, kept: tuple[Assignment, ...], tx: LrmTx) -> Written:
        layout = self.policy.layout(request, free_slots(everything(tx), self.figures), self.figures.sizes)
        demands = {demand.member: demand for demand in request.demands}
        where, jobs, slots = dict(layout.uses), [], []
        for wanted in layout.jobs:
            made = self._made(wanted, key)
            jobs += made.jobs
            slots += made.slots
            where |= made.members
        rows = tuple(
            Assignment(
                claim=key,
                member=member,
                slot=slot,
                memory_mb=demands[member].memory_mb,
                cpus=demands[member].cpus,
                preemptable=request.preemptable,
            )
            for member, slot in where.items()
        )
        _add(tx, jobs, slots)
        tx.assignments.add(rows)
        return Written(jobs=tuple(jobs), slots=tuple(slots), claims={key: (*kept, *rows)})

    def ahead(self, tx: LrmTx) -> Written:
        """Write down the jobs that the policy wants ahead of need."""
        upkeep = self.policy.upkeep(holdings(everything(tx), self.figures), self.figures.sizes)
        made = [self._made(wanted, "") for wanted in upkeep.ask]
        jobs = tuple(job for one in made for job in one.jobs)
        slots = tuple(slot for one in made for slot in one.slots)
        _add(tx, jobs, slots)
        return Written(jobs=jobs, slots=slots)

    def needless(self, rows: Written) -> frozenset[str]:
        """Return the jobs that the policy gives back."""
        return frozenset(self.policy.upkeep(holdings(rows, self.figures), self.figures.sizes).give_back)

    def _made(self, wanted: Wanted, claim: str) -> _Made:
        made, ranks, parts = _Made([], [], {}), _ranks(wanted), self.splits(wanted.components)
        for components in parts:
            job = self._job(claim, components, limit(wanted.seconds, len(parts), self.hold, self.figures.sizes.longest))
            made.jobs.append(job)
            for rank, size in enumerate(component for component in components for _ in range(component.nodes)):
                slot = Slot(job=job.tag, rank=rank, memory_mb=size.memory_mb, cpus=size.cpus)
                made.slots.append(slot)
                made.members.update(dict.fromkeys(ranks[size.memory_mb, size.cpus].pop(0), slot.id))
        return made

    def _job(self, claim: str, components: tuple[Component, ...], seconds: int) -> PilotJob:
        return PilotJob(
            tag=self.tag(),
            claim=claim,
            components=components,
            seconds=seconds,
            secret=self.key(),
            requested_at=self.figures.now,
            submitted_at=self.figures.now,
        )


def limit(seconds: int, jobs: int, hold: int, longest: int | None) -> int:
    """Return the limit of each of a claim's jobs: one that may wait for others must not run out while it is held."""
    if jobs == 1:
        return seconds
    return seconds + hold if longest is None else max(seconds, min(longest, seconds + hold))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """What makes a ready slot too old for a claim that still waits: it will be gone in less than ``least`` seconds.

    One of a job of the claim's own was asked for with the lease's whole time, so it is never so from the start: only
    once it was held for ``patience`` seconds.
    """

    claim: str
    now: datetime
    least: float
    patience: float

    def of(self, slot: Slot, job: PilotJob | None) -> bool:
        """Say whether a slot that the claim uses is so."""
        if slot.state is not SlotState.READY or slot.deadline is None or job is None:
            return False
        held = (self.now - slot.ready_at).total_seconds() if slot.ready_at else 0.0
        own = job.claim == self.claim
        return (slot.deadline - self.now).total_seconds() < self.least and (not own or held >= self.patience)


@dataclass(frozen=True, slots=True)
class _Made:
    jobs: list[PilotJob]
    slots: list[Slot]
    members: dict[str, str]


def _ranks(wanted: Wanted) -> dict[tuple[int, int], list[list[str]]]:
    """Return by size, rank after rank, the members that are to be on it."""
    ranks: dict[tuple[int, int], list[list[str]]] = defaultdict(list)
    sizes = [component for component in wanted.components for _ in range(component.nodes)]
    for rank, size in enumerate(sizes):
        ranks[size.memory_mb, size.cpus].append([member for member, of in wanted.members.items() if of == rank])
    return ranks


def _add(tx: LrmTx, jobs: Sequence[PilotJob], slots: Sequence[Slot]) -> None:
    for job in jobs:
        tx.jobs.add(job)
    tx.slots.add(slots)


def unwanted(tx: LrmTx, tags: Sequence[str], reason: str) -> list[PilotJob]:
    """Write the wish to be rid of jobs; those that are over, or unwanted already, stay as they are."""
    written = []
    for tag in tags:
        job = tx.jobs.get(tag)
        if job is not None and not job.unwanted and job.state in {*ASKED, JobState.ENDING}:
            wish = replace(job, unwanted=True, state=JobState.ENDING, reason=reason)
            written.append(tx.jobs.write(job, wish))
    return written


def released(tx: LrmTx, key: str, planner: Planner | None, reason: str) -> Written:
    """Take a claim's assignments away, and write down which jobs nobody needs any more.

    A job that is up is kept when the policy holds it for others; without a planner, none is.
    """
    has = tx.assignments.select(claim=key)
    slots = {slot.id: slot for slot in tx.slots.select(ids=sorted({row.slot for row in has}))} if has else {}
    touched = {slot.job for slot in slots.values()} | {job.tag for job in tx.jobs.select(claim=key, living=True)}
    if has:
        tx.assignments.remove(claim=key)
    rows = everything(tx)
    used = {one.slot for of_claim in rows.claims.values() for one in of_claim}
    still = {slot.job for slot in rows.slots if slot.id in used}
    up = {tag for tag in touched if _all_up(rows.slots, tag)}
    needless = planner.needless(rows) if planner else frozenset(touched)
    drop = [tag for tag in sorted(touched - still) if tag not in up or tag in needless]
    return Written(jobs=tuple(unwanted(tx, drop, reason)), claims={key: ()} if has else {})


def gave_way(tx: LrmTx, key: str, reason: str) -> Written:
    """Take all from a claim that is to queue again; nothing from one that has all its slots ready by now."""
    ids = sorted({row.slot for row in tx.assignments.select(claim=key)})
    if ids and all(slot.state is SlotState.READY for slot in tx.slots.select(ids=ids)):
        return Written()
    return released(tx, key, None, reason)


def _left_over(tx: LrmTx, key: str, tags: set[str]) -> list[str]:
    """Return those of a claim's own jobs that nobody uses; others' are the policy's business."""
    rows = everything(tx)
    used = {one.slot for of_claim in rows.claims.values() for one in of_claim}
    busy = {slot.job for slot in rows.slots if slot.id in used}
    return sorted(job.tag for job in rows.jobs if job.tag in tags - busy and job.claim == key)


def _all_up(slots: Sequence[Slot], tag: str) -> bool:
    of_job = [slot for slot in slots if slot.job == tag]
    return bool(of_job) and all(slot.state is SlotState.READY for slot in of_job)

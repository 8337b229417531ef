"""What the ledger holds that still matters, kept in memory for answers that cannot wait for it.

The ledger is the truth; the mirror is brought up to date with each row that was committed, and never goes back to an
older version. It holds what lives, and what is over as long as a claim uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER

if TYPE_CHECKING:
    from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Rows as a transaction stored them; ``claims``: whose assignments were set to what."""

    jobs: tuple[PilotJob, ...] = ()
    slots: tuple[Slot, ...] = ()
    claims: dict[str, tuple[Assignment, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether anything was written."""
        return bool(self.jobs or self.slots or self.claims)


@dataclass(frozen=True, slots=True)
class SlotStep:
    """A slot before and now."""

    before: Slot | None
    now: Slot


@dataclass(frozen=True, slots=True)
class JobStep:
    """A job before and now."""

    before: PilotJob | None
    now: PilotJob


class Mirror:
    """Jobs by tag, slots by id, assignments by claim; ``pruned`` counts the jobs that were forgotten."""

    def __init__(self) -> None:
        self.jobs: dict[str, PilotJob] = {}
        self.slots: dict[str, Slot] = {}
        self.uses: dict[str, tuple[Assignment, ...]] = {}
        self.pruned = 0
        self._users: dict[str, set[str]] = {}  # slot id -> claims
        self._ranks: dict[str, set[str]] = {}  # job tag -> slot ids

    def put(self, written: Written) -> tuple[list[JobStep], list[SlotStep]]:
        """Take rows in and return what changed; a row that is older than what is here changes nothing."""
        for claim, rows in written.claims.items():
            self._assign(claim, rows)
        jobs, slots = [], []
        for job in written.jobs:
            known = self.jobs.get(job.tag)
            if known is None or job.version > known.version:
                self.jobs[job.tag] = job
                jobs.append(JobStep(known, job))
        for slot in written.slots:
            before = self.slots.get(slot.id)
            if before is None or slot.version > before.version:
                self.slots[slot.id] = slot
                self._ranks.setdefault(slot.job, set()).add(slot.id)
                slots.append(SlotStep(before, slot))
        return jobs, slots

    def _assign(self, claim: str, rows: tuple[Assignment, ...]) -> None:
        for old in self.uses.pop(claim, ()):
            self._users.get(old.slot, set()).discard(claim)
        if rows:
            self.uses[claim] = rows
        for row in rows:
            self._users.setdefault(row.slot, set()).add(claim)

    def prune(self) -> list[str]:
        """Forget jobs that are over and used by no claim; return the ids of their slots."""
        gone = [
            tag
            for tag, job in self.jobs.items()
            if job.state in JOB_OVER
            and not self.users_of_job(tag)
            and all(slot.state in SLOT_OVER for slot in self.slots_of(tag))
        ]
        self.pruned += len(gone)
        dropped = []
        for tag in gone:
            del self.jobs[tag]
            for slot_id in self._ranks.pop(tag, set()):
                del self.slots[slot_id]
                self._users.pop(slot_id, None)
                dropped.append(slot_id)
        return dropped

    def living(self) -> list[PilotJob]:
        """Return the jobs that are not over."""
        return [job for job in self.jobs.values() if job.state not in JOB_OVER]

    def slots_of(self, tag: str) -> list[Slot]:
        """Return a job's slots by rank."""
        return sorted((self.slots[one] for one in self._ranks.get(tag, ())), key=lambda slot: slot.rank)

    def slots_used_by(self, claim: str) -> list[Slot]:
        """Return the slots that a claim uses, each once."""
        ids = dict.fromkeys(row.slot for row in self.uses.get(claim, ()))
        return [self.slots[one] for one in ids if one in self.slots]

    def users(self, slot_id: str) -> list[str]:
        """Return the claims that use a slot."""
        return sorted(self._users.get(slot_id, ()))

    def users_of_job(self, tag: str) -> list[str]:
        """Return the claims that use any slot of a job."""
        return sorted({claim for slot_id in self._ranks.get(tag, ()) for claim in self._users.get(slot_id, ())})


def everything(tx: LrmTx) -> Written:
    """Read all that lives, and all that a claim uses."""
    assignments = tx.assignments.select()
    used = {row.slot for row in assignments}
    jobs = {job.tag: job for job in tx.jobs.select(living=True)}
    slots = {slot.id: slot for slot in tx.slots.select(living=True)}
    missing = sorted(used - slots.keys())
    slots |= {slot.id: slot for slot in (tx.slots.select(ids=missing) if missing else ())}
    for tag in sorted({slot.job for slot in slots.values()} - jobs.keys()):
        job = tx.jobs.get(tag)
        if job is not None:
            jobs[tag] = job
    return Written(jobs=tuple(jobs.values()), slots=tuple(slots.values()), claims=by_claim(assignments))


def history(tx: LrmTx) -> Written:
    """Read all that lives, with the slots of its jobs that are over."""
    rows = everything(tx)
    slots = {slot.id: slot for slot in rows.slots}
    for job in rows.jobs:
        if sum(component.nodes for component in job.components) > sum(slot.job == job.tag for slot in rows.slots):
            slots |= {slot.id: slot for slot in tx.slots.select(job=job.tag)}
    return Written(jobs=rows.jobs, slots=tuple(slots.values()), claims=rows.claims)


def by_claim(rows: Iterable[Assignment]) -> dict[str, tuple[Assignment, ...]]:
    """Sort assignments by their claim."""
    sorted_: dict[str, list[Assignment]] = {}
    for row in rows:
        sorted_.setdefault(row.claim, []).append(row)
    return {claim: tuple(of_claim) for claim, of_claim in sorted_.items()}


def tags_of(slots: Sequence[Slot]) -> list[str]:
    """Return the jobs of slots, each once, in order."""
    return list(dict.fromkeys(slot.job for slot in slots))

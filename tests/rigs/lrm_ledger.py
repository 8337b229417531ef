"""A ledger in memory that behaves as the store does: transactions that are undone when they fail, compare-and-set."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot, Trail
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER
from flyinglow.nodectl.errors import TransientError

T = TypeVar("T")


@dataclass
class Rows:
    """All rows; also the transaction over them."""

    job_rows: dict[str, PilotJob] = field(default_factory=dict)
    slot_rows: dict[str, Slot] = field(default_factory=dict)
    uses: list[Assignment] = field(default_factory=list)
    trail_rows: list[Trail] = field(default_factory=list)
    mark_rows: dict[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> "Jobs":
        return Jobs(self)

    @property
    def slots(self) -> "Slots":
        return Slots(self)

    @property
    def assignments(self) -> "Assignments":
        return Assignments(self)

    @property
    def trails(self) -> "Trails":
        return Trails(self)

    @property
    def marks(self) -> "Marks":
        return Marks(self)


@dataclass
class Jobs:
    rows: Rows

    def add(self, job: PilotJob) -> None:
        assert job.tag not in self.rows.job_rows
        self.rows.job_rows[job.tag] = job

    def get(self, tag: str) -> PilotJob | None:
        return self.rows.job_rows.get(tag)

    def select(self, *, claim: str | None = None, living: bool | None = None) -> list[PilotJob]:
        return [
            job
            for job in self.rows.job_rows.values()
            if claim in {None, job.claim} and living in {None, job.state not in JOB_OVER}
        ]

    def write(self, old: PilotJob, new: PilotJob) -> PilotJob:
        if self.rows.job_rows[old.tag].version != old.version:
            raise TransientError("stale")
        self.rows.job_rows[old.tag] = replace(new, version=old.version + 1)
        return self.rows.job_rows[old.tag]

    def purge(self, before: datetime) -> int:
        gone = [tag for tag, job in self.rows.job_rows.items() if job.over_at is not None and job.over_at < before]
        for tag in gone:
            del self.rows.job_rows[tag]
        self.rows.slot_rows = {one: slot for one, slot in self.rows.slot_rows.items() if slot.job not in gone}
        return len(gone)


@dataclass
class Slots:
    rows: Rows

    def add(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            assert slot.id not in self.rows.slot_rows
            self.rows.slot_rows[slot.id] = slot

    def get(self, slot_id: str) -> Slot | None:
        return self.rows.slot_rows.get(slot_id)

    def select(
        self, *, job: str | None = None, ids: Sequence[str] | None = None, living: bool | None = None
    ) -> list[Slot]:
        return sorted(
            (
                slot
                for slot in self.rows.slot_rows.values()
                if job in {None, slot.job}
                and (ids is None or slot.id in ids)
                and living in {None, slot.state not in SLOT_OVER}
            ),
            key=lambda slot: (slot.job, slot.rank),
        )

    def write(self, old: Slot, new: Slot) -> Slot:
        if self.rows.slot_rows[old.id].version != old.version:
            raise TransientError("stale")
        self.rows.slot_rows[old.id] = replace(new, version=old.version + 1)
        return self.rows.slot_rows[old.id]


@dataclass
class Assignments:
    rows: Rows

    def add(self, rows: Sequence[Assignment]) -> None:
        assert all(row.slot in self.rows.slot_rows for row in rows)
        self.rows.uses.extend(rows)

    def select(self, *, claim: str | None = None, slots: Sequence[str] | None = None) -> list[Assignment]:
        return [row for row in self.rows.uses if claim in {None, row.claim} and (slots is None or row.slot in slots)]

    def remove(self, *, claim: str) -> None:
        self.rows.uses = [row for row in self.rows.uses if row.claim != claim]


@dataclass
class Trails:
    rows: Rows

    def add(self, rows: Sequence[Trail]) -> None:
        self.rows.trail_rows.extend(rows)

    def of(self, slot_id: str) -> list[Trail]:
        return [row for row in self.rows.trail_rows if row.slot == slot_id]


@dataclass
class Marks:
    rows: Rows

    def get(self, name: str) -> str | None:
        return self.rows.mark_rows.get(name)

    def put(self, name: str, value: str) -> None:
        self.rows.mark_rows[name] = value


class Ledger:
    """Implements ``backend.lrm.ports.Ledger``. ``down`` makes every transaction fail; ``committed`` hears each step."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.down = False
        self.steps: list[str] = []
        self.committed: Callable[[str], None] = lambda _: None

    def run(self, fn: Callable[[Any], T], *, step: str | None = None) -> Deferred[T]:
        return maybeDeferred(self._write, fn, step)

    def read(self, fn: Callable[[Any], T]) -> Deferred[T]:
        return maybeDeferred(self._read, fn)

    def _read(self, fn: Callable[[Any], T]) -> T:
        if self.down:
            raise TransientError("the ledger does not answer")
        return fn(copy.copy(self.rows))

    def _write(self, fn: Callable[[Any], T], step: str | None) -> T:
        if self.down:
            raise TransientError("the ledger does not answer")
        rows = Rows(**{name: copy.copy(value) for name, value in vars(self.rows).items()})
        result = fn(rows)
        self.rows = rows
        self.steps.append(step or "")
        self.committed(step or "")
        return result

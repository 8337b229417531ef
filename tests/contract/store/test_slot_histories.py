"""Random histories of pilot jobs and slots: after every step the store holds what plain dictionaries hold."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot, Trail
from flyinglow.backend.lrm.states import JOB_NEXT, JOB_OVER, SLOT_NEXT, SLOT_OVER, LrmSays, PilotSaid
from flyinglow.store import Store
from flyinglow.workspace.ports import StaleError
from rigs.pilot_rows import assignment, pilot_job, slot, trail
from rigs.store import NOON

numbers = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 4), numbers),
    *(st.tuples(st.just("list"), numbers, numbers),) * 3,
    *(st.tuples(st.just("report"), numbers, numbers),) * 4,
    st.tuples(st.just("assign"), numbers, numbers),
    st.tuples(st.just("release"), numbers, numbers),
    st.tuples(st.just("late"), numbers, numbers),
    st.tuples(st.just("purge"), numbers, numbers),
)


@dataclass
class World:
    """What should be in the store."""

    clock: int = 0
    jobs: dict[str, PilotJob] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    assignments: dict[tuple[str, str], Assignment] = field(default_factory=dict)
    trails: dict[str, list[Trail]] = field(default_factory=dict)

    def pick(self, rows: dict[str, Any], number: int) -> Any:
        return list(rows.values())[number % len(rows)] if rows else None

    def ask(self, tx: Any, ranks: int, claim: int) -> None:
        job = pilot_job(self.clock, claim=f"c{claim}" if claim else "")
        slots = [slot(job, rank) for rank in range(ranks)]
        tx.jobs.add(job)
        tx.slots.add(slots)
        self.jobs[job.tag] = job
        self.slots |= {row.id: row for row in slots}

    def list(self, tx: Any, number: int, way: int) -> None:
        job = self.pick(self.jobs, number)
        if job is None:
            return
        ways = [*JOB_NEXT[job.state].items(), (LrmSays.UNKNOWN, job.state)]
        says, state = ways[way % len(ways)]
        over = job.over_at or (NOON + timedelta(seconds=self.clock) if state in JOB_OVER else None)
        self.jobs[job.tag] = tx.jobs.write(job, replace(job, state=state, native=says, over_at=over))

    def report(self, tx: Any, number: int, way: int) -> None:
        row = self.pick(self.slots, number)
        if row is None:
            return
        ways = [*SLOT_NEXT[row.state].items(), (PilotSaid.HELLO, row.state)]
        said, state = ways[way % len(ways)]
        new = replace(row, state=state, sequence=row.sequence + 1, facts={"said": [said, number]})
        self.slots[row.id] = tx.slots.write(row, new)
        told = trail(row.id, new.sequence, kind=str(said), body=new.facts, effect=str(state))
        tx.trails.add([told])
        self.trails.setdefault(row.id, []).append(told)

    def assign(self, tx: Any, number: int, claim: int) -> None:
        row = self.pick(self.slots, number)
        if row is not None and (f"c{claim}", row.id) not in self.assignments:
            made = assignment(f"c{claim}", row.id, row.id, preemptable=bool(number % 2))
            tx.assignments.add([made])
            self.assignments[made.claim, made.member] = made

    def release(self, tx: Any, claim: int, _: int) -> None:
        tx.assignments.remove(claim=f"c{claim}")
        self.assignments = {key: row for key, row in self.assignments.items() if row.claim != f"c{claim}"}

    def late(self, tx: Any, number: int, _: int) -> None:
        for rows, written in ((self.jobs, tx.jobs), (self.slots, tx.slots)):
            row = self.pick(rows, number)
            if row is not None:
                with pytest.raises(StaleError):
                    written.write(replace(row, version=row.version - 1), replace(row, reason="late"))

    def purge(self, tx: Any, age: int, _: int) -> None:
        before = NOON + timedelta(seconds=self.clock - age)
        gone = {tag for tag, job in self.jobs.items() if job.over_at is not None and job.over_at < before}
        assert tx.jobs.purge(before) == len(gone)
        self.jobs = {tag: job for tag, job in self.jobs.items() if tag not in gone}
        lost = {id_ for id_, row in self.slots.items() if row.job in gone}
        self.slots = {id_: row for id_, row in self.slots.items() if id_ not in lost}
        self.assignments = {key: row for key, row in self.assignments.items() if row.slot not in lost}
        self.trails = {id_: rows for id_, rows in self.trails.items() if id_ not in lost}

    def compare(self, tx: Any) -> None:
        jobs, slots = list(self.jobs.values()), sorted(self.slots.values(), key=lambda row: (row.job, row.rank))
        assert tx.jobs.select() == jobs
        assert tx.jobs.select(living=True) == [job for job in jobs if job.state not in JOB_OVER]
        assert tx.jobs.select(claim="c1", living=False) == [
            job for job in jobs if job.claim == "c1" and job.state in JOB_OVER
        ]
        assert tx.slots.select() == slots
        assert tx.slots.select(living=True) == [row for row in slots if row.state not in SLOT_OVER]
        wanted = [row.id for row in slots[::2]]
        assert tx.slots.select(ids=wanted) == slots[::2]
        assert tx.assignments.select() == [self.assignments[key] for key in sorted(self.assignments)]
        on = [self.assignments[key] for key in sorted(self.assignments) if self.assignments[key].slot in wanted]
        assert tx.assignments.select(slots=wanted) == on
        assert {row.id: tx.trails.of(row.id) for row in slots if row.sequence} == self.trails


def empty(store: Store) -> None:
    with store._database.write() as connection:
        connection.execute(text("DELETE FROM pilot_jobs"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=30, max_size=50))
def test_the_store_is_what_was_done_to_it(any_store: Store, history: list[tuple[str, Any, Any]]) -> None:
    empty(any_store)
    world = World()
    for name, first, second in [("ask", 3, 1), *history]:
        world.clock += 1
        step: Callable[..., None] = getattr(world, name)
        any_store.call(lambda tx, step=step, first=first, second=second: step(tx, first, second))  # type: ignore[misc]
        any_store.view(world.compare)

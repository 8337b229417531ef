"""The rows of pilot jobs, slots, assignments, reports and marks: kept as given, found, written by one, purged whole."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from flyinglow.backend.lrm.model import Component, PilotJob, Slot
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, JobState, SlotState
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.store import Store
from flyinglow.workspace.ports import StaleError
from rigs.pilot_rows import assignment, pilot_job, slot, trail
from rigs.store import NOON, OpenStore

JOB = pilot_job(
    7,
    components=(Component(nodes=16, memory_mb=2**40, cpus=8), Component(nodes=1, memory_mb=1, cpus=1)),
    state=JobState.STARTED,
    epoch=3,
    lrm_id="123+0",
    native="R",
    reason="größer: (Priority)",
    unwanted=True,
    submitted_at=NOON + timedelta(microseconds=1),
    listed_at=NOON + timedelta(seconds=1),
    started_at=NOON + timedelta(seconds=2),
    starts_at=NOON + timedelta(seconds=3),
    ends_at=NOON + timedelta(days=4000),
    over_at=NOON + timedelta(days=4001),
    attempts=4,
)
SLOT = slot(
    JOB,
    3,
    state=SlotState.PREEMPTING,
    epoch=3,
    node="n1.example",
    incarnation="word",
    secret="5ec1",
    sequence=9,
    reason="signal 15",
    facts={"memory": {"base_mb": 4096, "list": [1, 2.5, None, True]}},
    bound_at=NOON,
    ready_at=NOON + timedelta(seconds=1),
    heard_at=NOON + timedelta(seconds=2),
    deadline=NOON + timedelta(seconds=3),
    over_at=NOON + timedelta(seconds=4),
)


def add(store: Store, *jobs: PilotJob, slots: int = 0) -> None:
    def insert(tx: Any) -> None:
        for job in jobs:
            tx.jobs.add(job)
            tx.slots.add([slot(job, rank) for rank in range(slots)])

    store.call(insert)


def jobs(store: Store, **wanted: Any) -> list[str]:
    return [job.tag for job in store.view(lambda tx: tx.jobs.select(**wanted))]


def slots(store: Store, **wanted: Any) -> list[str]:
    return [row.id for row in store.view(lambda tx: tx.slots.select(**wanted))]


def select_jobs(living: bool, tx: Any) -> list[PilotJob]:
    return list(tx.jobs.select(living=living))


def select_slots(living: bool, tx: Any) -> list[Slot]:
    return list(tx.slots.select(living=living))


def test_rows_come_back_as_they_were(any_store: Store) -> None:
    add(any_store, JOB, pilot_job(8))
    any_store.call(lambda tx: tx.slots.add([SLOT, slot(8, 0)]))
    assert any_store.view(lambda tx: tx.jobs.get(JOB.tag)) == JOB
    assert any_store.view(lambda tx: tx.jobs.get(pilot_job(8).tag)) == pilot_job(8)
    assert any_store.view(lambda tx: tx.jobs.get("unknown")) is None
    assert any_store.view(lambda tx: tx.slots.get(SLOT.id)) == SLOT
    assert any_store.view(lambda tx: tx.slots.get(slot(8, 0).id)) == slot(8, 0)
    assert any_store.view(lambda tx: tx.slots.get("j0000007.4")) is None


def test_rows_outlive_the_process(open_store: OpenStore, store_url: str) -> None:
    store = open_store(store_url)
    add(store, JOB)
    store.call(lambda tx: tx.slots.add([SLOT]))
    store.call(lambda tx: tx.marks.put("spool", "17"))
    store.close()
    again = open_store(store_url)
    assert again.view(lambda tx: (tx.jobs.select(), tx.slots.select(), tx.marks.get("spool"))) == ([JOB], [SLOT], "17")


def test_jobs_are_selected_oldest_first(any_store: Store) -> None:
    late = pilot_job(1, requested_at=NOON + timedelta(hours=1))
    same = [pilot_job(number, requested_at=NOON + timedelta(minutes=1)) for number in (5, 4)]
    add(any_store, late, *same, pilot_job(3, claim=""))
    assert jobs(any_store) == ["j0000003", "j0000004", "j0000005", "j0000001"]
    assert jobs(any_store, claim="c5") == ["j0000005"]
    assert jobs(any_store, claim="") == ["j0000003"]
    assert jobs(any_store, claim="none") == []


def test_living_jobs_are_those_that_are_not_over(any_store: Store) -> None:
    add(any_store, *(pilot_job(number, state=state, claim="c") for number, state in enumerate(JobState)))
    for living in (True, False):
        found = {job.state for job in any_store.view(partial(select_jobs, living))}
        assert found == (set(JobState) - JOB_OVER if living else JOB_OVER)
    assert len(jobs(any_store, claim="c", living=True)) == len(JobState) - len(JOB_OVER)


def test_slots_are_selected_by_job_and_rank(any_store: Store) -> None:
    add(any_store, pilot_job(2), pilot_job(1), slots=12)
    assert slots(any_store, job="j0000002") == [f"j0000002.{rank}" for rank in range(12)]
    assert slots(any_store)[:12] == [f"j0000001.{rank}" for rank in range(12)]
    assert slots(any_store, ids=["j0000002.11", "j0000002.2", "j0000001.10", "j0000002.2", "j9.9"]) == [
        "j0000001.10",
        "j0000002.2",
        "j0000002.11",
    ]
    assert slots(any_store, ids=[]) == []
    assert slots(any_store, job="j0000001", ids=["j0000002.1", "j0000001.1"]) == ["j0000001.1"]


def test_living_slots_are_those_that_are_not_over(any_store: Store) -> None:
    add(any_store, pilot_job(1))
    any_store.call(lambda tx: tx.slots.add([slot(1, rank, state=state) for rank, state in enumerate(SlotState)]))
    for living in (True, False):
        found = {row.state for row in any_store.view(partial(select_slots, living))}
        assert found == (set(SlotState) - SLOT_OVER if living else SLOT_OVER)


def test_a_write_changes_what_it_says(any_store: Store) -> None:
    add(any_store, pilot_job(7), slots=2)
    full = replace(JOB, version=2)
    assert any_store.call(lambda tx: tx.jobs.write(pilot_job(7), JOB)) == full
    assert any_store.view(lambda tx: tx.jobs.get(JOB.tag)) == full
    changed = replace(SLOT, rank=1)
    assert any_store.call(lambda tx: tx.slots.write(slot(7, 1), changed)) == replace(changed, version=2)
    assert any_store.view(lambda tx: tx.slots.select(job=JOB.tag)) == [slot(7, 0), replace(changed, version=2)]


def test_an_old_version_is_stale(any_store: Store) -> None:
    add(any_store, pilot_job(1), slots=1)
    job, row = pilot_job(1), slot(1, 0)
    any_store.call(lambda tx: (tx.jobs.write(job, job), tx.slots.write(row, row)))
    with pytest.raises(StaleError, match="pilot job j0000001"):
        any_store.call(lambda tx: tx.jobs.write(job, replace(job, reason="late")))
    with pytest.raises(StaleError, match=r"slot j0000001\.0"):
        any_store.call(lambda tx: tx.slots.write(row, replace(row, reason="late")))
    with pytest.raises(StaleError):
        any_store.call(lambda tx: tx.jobs.write(pilot_job(9), pilot_job(9)))


@pytest.mark.parametrize(
    "twice",
    [
        lambda tx: tx.jobs.add(pilot_job(1)),
        lambda tx: tx.slots.add([slot(1, 0)]),
        lambda tx: tx.slots.add([slot(2, 0)]),
        lambda tx: tx.assignments.add([assignment("c1", "m", "j0000001.0")]),
        lambda tx: tx.assignments.add([assignment("c1", "n", "j0000001.9")]),
        lambda tx: tx.trails.add([trail("j0000001.9", 1)]),
    ],
    ids=["job", "slot", "no job", "member", "no slot", "report of no slot"],
)
def test_what_is_there_already_or_hangs_on_nothing_is_stale(any_store: Store, twice: Any) -> None:
    add(any_store, pilot_job(1), slots=1)
    any_store.call(lambda tx: tx.assignments.add([assignment("c1", "m", "j0000001.0")]))
    with pytest.raises(StaleError):
        any_store.call(twice)


def test_assignments_are_selected_and_removed(any_store: Store) -> None:
    add(any_store, pilot_job(1), pilot_job(2), slots=2)
    rows = [
        assignment("c1", "a", "j0000001.0"),
        assignment("c1", "b", "j0000001.1", preemptable=True),
        assignment("c2", "a", "j0000001.1", memory_mb=2**40, cpus=3),
    ]
    any_store.call(lambda tx: tx.assignments.add(reversed(rows)))

    def found(**wanted: Any) -> Any:
        return any_store.view(lambda tx: tx.assignments.select(**wanted))

    assert found() == rows
    assert found(claim="c1") == rows[:2]
    assert found(slots=["j0000001.1", "j0000002.0"]) == rows[1:]
    assert found(claim="c2", slots=["j0000001.1"]) == rows[2:]
    assert found(slots=[]) == []
    any_store.call(lambda tx: tx.assignments.remove(claim="c1"))
    any_store.call(lambda tx: tx.assignments.remove(claim="c1"))
    assert found() == rows[2:]


def test_reports_are_kept_in_the_order_in_which_they_came(any_store: Store) -> None:
    add(any_store, pilot_job(1), slots=2)
    rows = [
        trail("j0000001.0", 2, kind="ready", body={"left": None, "list": [1, {"größer": "x"}]}, effect="Ready"),
        trail("j0000001.0", 1, kind="hello", epoch=2, sent_ms=-1),
        trail("j0000001.0", 1, kind="hello", epoch=2, effect="another pilot's"),
    ]
    any_store.call(lambda tx: tx.trails.add(rows[:2]))
    any_store.call(lambda tx: tx.trails.add([trail("j0000001.1", 1), rows[2]]))
    assert any_store.view(lambda tx: tx.trails.of("j0000001.0")) == rows
    assert any_store.view(lambda tx: tx.trails.of("j0000001.2")) == []


def test_marks_are_set_and_set_again(any_store: Store) -> None:
    assert any_store.view(lambda tx: tx.marks.get("spool")) is None
    any_store.call(lambda tx: (tx.marks.put("spool", "1"), tx.marks.put("other", "")))
    any_store.call(lambda tx: tx.marks.put("spool", "2"))
    assert any_store.view(lambda tx: (tx.marks.get("spool"), tx.marks.get("other"))) == ("2", "")


def test_nothing_to_add_is_nothing(any_store: Store) -> None:
    any_store.call(lambda tx: (tx.slots.add([]), tx.assignments.add([]), tx.trails.add([])))
    assert any_store.view(lambda tx: (tx.slots.select(), tx.assignments.select())) == ([], [])


def test_words_from_outside_are_kept_as_far_as_can_be(any_store: Store) -> None:
    add(any_store, pilot_job(1, reason="a\0b", native="\ud800"), slots=0)
    any_store.call(lambda tx: tx.slots.add([slot(1, 0, node="n\0", facts={"a\0": "\ud800"})]))
    any_store.call(lambda tx: tx.trails.add([trail("j0000001.0", 1, body={"x": "\0\udfff"}, effect="\0")]))
    job, row, (report,) = any_store.view(
        lambda tx: (tx.jobs.get("j0000001"), tx.slots.get("j0000001.0"), tx.trails.of("j0000001.0"))
    )
    assert (job.reason, job.native, row.node, report.effect) == ("a\ufffdb", "?", "n\ufffd", "\ufffd")
    assert (row.facts, report.body) == ({"a\0": "\ud800"}, {"x": "\0\udfff"})


def test_a_purge_takes_jobs_that_are_long_over_with_all_that_hangs_on_them(any_store: Store) -> None:
    over = [pilot_job(n, state=JobState.ENDED, over_at=NOON + timedelta(hours=n)) for n in (1, 2)]
    add(any_store, *over, pilot_job(3), slots=3)
    rows = [assignment(f"c{n}", "m", f"j000000{n}.0") for n in (1, 2, 3)]
    any_store.call(lambda tx: tx.assignments.add(rows))
    any_store.call(lambda tx: tx.trails.add([trail(f"j000000{n}.0", 1) for n in (1, 2, 3)]))
    assert any_store.call(lambda tx: tx.jobs.purge(NOON + timedelta(hours=2))) == 1
    assert jobs(any_store) == ["j0000002", "j0000003"]
    assert slots(any_store) == [f"j000000{n}.{rank}" for n in (2, 3) for rank in range(3)]
    assert any_store.view(lambda tx: tx.assignments.select()) == rows[1:]
    assert any_store.view(lambda tx: [len(tx.trails.of(f"j000000{n}.0")) for n in (1, 2, 3)]) == [0, 1, 1]
    assert any_store.call(lambda tx: tx.jobs.purge(NOON + timedelta(days=9))) == 1
    assert any_store.call(lambda tx: tx.jobs.purge(NOON + timedelta(days=9))) == 0


def test_256_slots_are_inserted_at_once_and_written_at_once(any_store: Store) -> None:
    add(any_store, pilot_job(1), slots=256)

    def ready(tx: Any) -> None:
        for row in tx.slots.select(job="j0000001"):
            tx.slots.write(row, replace(row, state=SlotState.BOUND, node=f"n{row.rank}"))
        tx.trails.add([trail(f"j0000001.{rank}", 1) for rank in range(256)])

    any_store.call(ready)
    rows = any_store.view(lambda tx: tx.slots.select(job="j0000001", living=True))
    assert [row.node for row in rows] == [f"n{rank}" for rank in range(256)]


def test_keys_are_not_told() -> None:
    text = f"{JOB!r} {SLOT!r} {JOB} {SLOT}"
    assert "5ec" not in text
    assert "secret" not in text


def test_no_failure_tells_a_key(any_store: Store) -> None:
    add(any_store, pilot_job(1), slots=1)
    key, nothing = "0123456789abcdef", cast("int", None)

    def told(change: Any) -> tuple[str, str]:
        with pytest.raises(FlyingLowError) as caught:
            any_store.call(change)
        return str(caught.value), str(caught.value.__cause__)

    assert key not in str(told(lambda tx: tx.jobs.add(pilot_job(1, secret=key))))
    assert key not in str(told(lambda tx: tx.slots.add([slot(1, 0, secret=key)])))
    assert key not in told(lambda tx: tx.slots.add([slot(1, 1, cpus=nothing, secret=key)]))[0]

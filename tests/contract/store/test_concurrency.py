"""Many at a time, on both databases: nothing is lost, leased twice or held beyond what there is."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from flyinglow.backend.api import NodeState
from flyinglow.nodectl.errors import ConflictError, ExhaustedError, FlyingLowError
from flyinglow.store import Store
from flyinglow.workspace.model import Kind, Lease, Selection
from flyinglow.workspace.ports import StaleError
from rigs.pilot_rows import assignment, pilot_job, slot, trail
from rigs.store import NOON, collection, event, pool, workspace

THREADS = 20


def together(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Do ``work(number)`` on so many threads at once; an error of ours is an answer, too."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(30)
        try:
            return work(number)
        except FlyingLowError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count), timeout=120))


def add_collection(row: Any, tx: Any) -> None:
    tx.collections.add([row])


def test_of_two_writers_one_is_stale(any_store: Store) -> None:
    old = workspace(1)
    any_store.call(lambda tx: tx.workspaces.add([old]))
    answers = together(
        lambda n: any_store.call(lambda tx: tx.workspaces.write(old, replace(old, reason=f"writer {n}"))), 2
    )
    stale = [answer for answer in answers if isinstance(answer, StaleError)]
    (won,) = (answer for answer in answers if answer not in stale)
    assert len(stale) == 1
    assert any_store.view(lambda tx: tx.workspaces.get(old.id)) == won


def test_of_two_writers_of_a_slot_one_is_stale_and_decides_again(any_store: Store) -> None:
    any_store.call(lambda tx: (tx.jobs.add(pilot_job(1)), tx.slots.add([slot(1, 0)])))
    old = slot(1, 0)
    answers = together(lambda n: any_store.call(lambda tx: tx.slots.write(old, replace(old, reason=f"writer {n}"))), 2)
    assert sorted(isinstance(answer, StaleError) for answer in answers) == [False, True]

    def report(number: int) -> None:
        def take(tx: Any) -> None:
            row, job = tx.slots.get(old.id), tx.jobs.get(old.job)
            tx.slots.write(row, replace(row, sequence=row.sequence + 1))
            tx.jobs.write(job, replace(job, attempts=job.attempts + 1))
            tx.trails.add([trail(old.id, row.sequence + 1, effect=f"writer {number}")])

        for _ in range(3):
            any_store.call(take)

    assert together(report, 5) == [None] * 5
    row, job, trails = any_store.view(lambda tx: (tx.slots.get(old.id), tx.jobs.get(old.job), tx.trails.of(old.id)))
    assert (row.sequence, job.attempts, job.version) == (15, 15, 16)
    assert [report.sequence for report in trails] == list(range(1, 16))


def test_one_member_is_put_on_one_slot(any_store: Store) -> None:
    any_store.call(lambda tx: (tx.jobs.add(pilot_job(1)), tx.slots.add([slot(1, rank) for rank in range(THREADS)])))

    def place(number: int) -> str:
        def put(tx: Any) -> str:
            found = tx.assignments.select(claim="c")
            if not found:
                tx.assignments.add([assignment("c", "m", f"j0000001.{number}")])
            return str(found[0].slot) if found else f"j0000001.{number}"

        return any_store.call(put)

    assert len(set(together(place))) == 1


def test_no_change_is_lost(any_store: Store) -> None:
    any_store.call(lambda tx: tx.workspaces.add([workspace(1)]))

    def count(tx: Any) -> None:
        row = tx.workspaces.get(workspace(1).id)
        tx.workspaces.write(row, replace(row, attempts=row.attempts + 1, sequence=row.sequence + 1))
        tx.outbox.add([event(1, row.sequence + 1)])

    answers = together(lambda _: [any_store.call(count) for _ in range(3)], 5)
    assert answers == [[None] * 3] * 5
    assert any_store.view(lambda tx: tx.workspaces.get(workspace(1).id)).attempts == 15
    assert sorted(event_.sequence for event_ in any_store.view(lambda tx: tx.outbox.unsent(99))) == list(range(1, 16))


def test_every_address_is_leased_to_one(any_store: Store) -> None:
    any_store.call(lambda tx: tx.addresses.define("public", pool("public", 2 * THREADS - 1)))
    any_store.call(lambda tx: tx.addresses.define("private", pool("private", 2 * THREADS)))

    def lease(number: int) -> list[str]:
        order = ("public", "private") if number % 2 else ("private", "public")

        def two(tx: Any) -> list[str]:
            return [f"{name} {tx.addresses.lease(name, f'w{number}', 'eth0').ip}" for name in order]

        return any_store.call(two)

    leased = [answer for _ in range(2) for answer in together(lease)]
    assert [type(answer) for answer in leased].count(ExhaustedError) == 1
    addresses = [address for answer in leased if isinstance(answer, list) for address in answer]
    assert len(set(addresses)) == len(addresses) == 4 * THREADS - 2
    assert {view.free for view in any_store.view(lambda tx: tx.addresses.view()).values()} == {0, 1}


def test_capacity_is_never_oversold(any_store: Store) -> None:
    nodes = [NodeState(name=f"n{n}", memory_mb=3000, cpus=99, disk_mb=9999) for n in range(3)]
    any_store.call(lambda tx: [tx.nodes.put(node) for node in nodes])

    def create(number: int) -> str:
        def place(tx: Any) -> str:
            for view in tx.nodes.view():
                if view.free_memory_mb >= 1000:
                    tx.nodes.hold(view.node.name, f"w{number}", memory_mb=1000, cpus=1, disk_mb=1)
                    return str(view.node.name)
            raise ExhaustedError("no node is free")

        return any_store.call(place)

    placed = together(create)
    assert sorted(name for name in placed if isinstance(name, str)) == ["n0"] * 3 + ["n1"] * 3 + ["n2"] * 3
    assert [view.free_memory_mb for view in any_store.view(lambda tx: tx.nodes.view())] == [0, 0, 0]


def test_a_node_is_not_removed_from_under_a_hold(any_store: Store) -> None:
    for _ in range(5):
        any_store.call(lambda tx: tx.nodes.put(NodeState(name="n", memory_mb=1, cpus=1, disk_mb=1)))

        def work(number: int) -> str:
            if number:
                any_store.call(lambda tx: tx.nodes.hold("n", "w", memory_mb=1, cpus=1, disk_mb=1))
                return "held"
            any_store.call(lambda tx: tx.nodes.remove("n"))
            return "removed"

        removed, held = together(work, 2)
        assert (removed == "removed") != (held == "held")
        assert isinstance(removed, ConflictError) or not any_store.view(lambda tx: tx.nodes.all())
        any_store.call(lambda tx: tx.nodes.free(["w"]))


def test_one_token_makes_one_lease(any_store: Store) -> None:
    def create(number: int) -> str:
        def lease(tx: Any) -> str:
            found = tx.leases.by_token("ann", "token")
            if found is None:
                found = Lease(id=f"l{number}", owner="ann", token="token", digest="", created_at=NOON, resources=())
                tx.leases.add(found)
                tx.workspaces.add([workspace(number)])
            return str(found.id)

        return any_store.call(lease)

    assert len(set(together(create))) == 1
    assert len(any_store.view(lambda tx: tx.workspaces.select(Selection()))) == 1


def test_nobody_joins_an_ensemble_that_is_done(any_store: Store) -> None:
    for number in range(1, 6):
        row = collection(number, Kind.ENSEMBLE, open=True)
        any_store.call(partial(add_collection, row))

        def work(who: int, row: Any = row) -> Any:
            def join(tx: Any) -> bool:
                is_open = tx.collections.get(row.key).open
                if is_open:
                    tx.workspaces.add([workspace(int(row.key.id, 16), ensemble_id=row.key.id)])
                return bool(is_open)

            def done(tx: Any) -> int:
                now = tx.collections.get(row.key)
                tx.collections.write(now, replace(now, open=False))
                return len(tx.workspaces.select(Selection(ensemble_id=row.key.id)))

            return any_store.call(join if who else done)

        seen, joined = together(work, 2)
        assert seen == joined


@pytest.mark.parametrize("first", [1, 2])
def test_locks_taken_crosswise_end_well(any_store: Store, first: int) -> None:
    any_store.call(lambda tx: tx.workspaces.add([workspace(1), workspace(2)]))
    both = threading.Barrier(2)
    tries: list[int] = []

    def cross(number: int) -> None:
        def write(tx: Any) -> None:
            tries.append(number)
            for turn in (number, 1 - number):
                row = tx.workspaces.get(workspace(turn + 1).id)
                tx.workspaces.write(row, replace(row, attempts=row.attempts + first))
                if len(tries) <= 2 and turn == number and any_store._database.file is None:
                    both.wait(30)

        any_store.call(write)

    assert together(cross, 2) == [None, None]
    assert [row.attempts for row in any_store.view(lambda tx: tx.workspaces.select(Selection()))] == [2 * first] * 2

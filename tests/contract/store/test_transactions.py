"""What a transaction promises, on both databases: all or nothing, told once committed, run again when it came late."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from flyinglow.nodectl.errors import BrokenError
from flyinglow.store import Store
from flyinglow.workspace.model import Event, Selection
from flyinglow.workspace.ports import StaleError
from rigs.store import OpenStore, event, workspace


class StopError(Exception):
    """Raised by a test's own function."""


class Ear:
    """Remembers what the store tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.threads: list[int] = []

    def __call__(self, news: Any) -> None:
        self.heard.append(news)
        self.threads.append(threading.get_ident())


def everything(store: Store) -> tuple[list[str], list[int]]:
    def read(tx: Any) -> tuple[list[str], list[int]]:
        return (
            [row.name for row in tx.workspaces.select(Selection())],
            [event_.sequence for event_ in tx.outbox.unsent(99)],
        )

    return store.view(read)


def create(tx: Any) -> str:
    tx.workspaces.add([workspace(1)])
    tx.outbox.add([event(1, 1), event(1, 2)])
    return "done"


def test_a_commit_is_told_with_ids(open_store: OpenStore, store_url: str) -> None:
    ears = [Ear(), Ear()]
    store = open_store(store_url, listeners=[ears[0]])
    store.listen(ears[1])
    assert store.call(create) == "done"
    for ear in ears:
        ((first, second),) = ear.heard
        assert (first.id > 0, second.id > first.id) == (True, True)
        assert replace(first, id=0) == event(1, 1)
        assert ear.threads == [threading.get_ident()]


def test_a_transaction_without_events_is_not_told(open_store: OpenStore, store_url: str) -> None:
    ear = Ear()
    store = open_store(store_url, listeners=[ear])
    store.call(lambda tx: tx.workspaces.add([workspace(1)]))
    assert ear.heard == []


def test_what_fails_leaves_nothing_and_tells_nobody(open_store: OpenStore, store_url: str) -> None:
    ear, steps = Ear(), Ear()
    store = open_store(store_url, listeners=[ear], committed=steps)

    def fail(tx: Any) -> None:
        create(tx)
        raise StopError

    with pytest.raises(StopError):
        store.call(fail)
    assert everything(store) == ([], [])
    assert (ear.heard, steps.heard) == ([], [])
    store.call(create)
    assert everything(store) == (["w1"], [1, 2])


def test_a_listener_hears_what_others_can_read_already(open_store: OpenStore, store_url: str) -> None:
    store = open_store(store_url)
    seen: list[Any] = []

    def look(events: tuple[Event, ...]) -> None:
        seen.append(everything(store))
        store.call(lambda tx: tx.outbox.mark_sent([event_.id for event_ in events]))

    store.listen(look)
    store.call(create)
    assert seen == [(["w1"], [1, 2])]
    assert everything(store) == (["w1"], [])


def test_a_listener_that_fails_does_not_undo(open_store: OpenStore, store_url: str) -> None:
    ear = Ear()

    def fail(_: Any) -> None:
        raise StopError

    store = open_store(store_url, listeners=[fail, ear])
    assert store.call(create) == "done"
    assert len(ear.heard) == 1


def test_each_step_that_is_committed_is_named(open_store: OpenStore, store_url: str) -> None:
    steps = Ear()
    store = open_store(store_url, committed=steps)
    store.call(create)
    store.call(lambda tx: None, step="advance Running")
    store.run(lambda tx: None, step="other")
    store.view(lambda tx: None)
    assert steps.heard == ["create", "advance Running", "other"]


def test_a_view_cannot_write(any_store: Store) -> None:
    with pytest.raises(BrokenError):
        any_store.view(lambda tx: tx.workspaces.add([workspace(1)]))
    assert everything(any_store) == ([], [])


def test_a_view_sees_one_state_from_end_to_end(any_store: Store) -> None:
    def look(tx: Any) -> tuple[list[str], list[str]]:
        before = [row.name for row in tx.workspaces.select(Selection())]
        other = threading.Thread(target=any_store.call, args=(create,))
        other.start()
        other.join(30)
        return before, [row.name for row in tx.workspaces.select(Selection())]

    assert any_store.view(look) == ([], [])
    assert everything(any_store) == (["w1"], [1, 2])


def test_what_comes_late_is_run_again(any_store: Store) -> None:
    any_store.call(create)
    runs: list[int] = []

    def count(tx: Any) -> None:
        row = tx.workspaces.get(workspace(1).id)
        runs.append(row.version)
        old = row if len(runs) > 2 else replace(row, version=row.version - 1)
        tx.workspaces.write(old, replace(row, attempts=row.attempts + 1))

    any_store.call(count)
    assert len(runs) == 3
    assert any_store.view(lambda tx: tx.workspaces.get(workspace(1).id)).attempts == 1


def test_what_always_comes_late_ends(any_store: Store) -> None:
    runs: list[int] = []

    def late(tx: Any) -> None:
        runs.append(1)
        raise StaleError("late")

    with pytest.raises(StaleError):
        any_store.call(late)
    assert len(runs) == 20


def test_a_transaction_inside_another_is_refused(any_store: Store) -> None:
    with pytest.raises(RuntimeError, match="inside another"):
        any_store.call(lambda tx: any_store.view(lambda tx: None))
    any_store.call(lambda tx: None)


class PoolReactor:
    """A reactor that only takes calls from threads, for the test to carry out."""

    def __init__(self) -> None:
        self._ready = threading.Semaphore(0)
        self._calls: list[Any] = []

    def callFromThread(self, call: Any, *args: Any) -> None:
        self._calls.append((call, args))
        self._ready.release()

    def one(self) -> None:
        assert self._ready.acquire(timeout=30)
        call, args = self._calls.pop(0)
        call(*args)


def test_run_and_read_work_on_the_pool(open_store: OpenStore, store_url: str) -> None:
    pool, reactor = ThreadPool(1, 2), PoolReactor()
    pool.start()
    try:
        store = open_store(store_url, reactor=reactor, pool=pool)
        answers: list[Any] = []
        for deferred in (store.run(lambda tx: threading.get_ident()), store.read(lambda tx: threading.get_ident())):
            deferred.addCallback(answers.append)
            assert answers == [] or answers[-1] != threading.get_ident()
            reactor.one()
        assert len(answers) == 2
        assert threading.get_ident() not in answers
    finally:
        pool.stop()


def test_without_a_pool_run_works_at_once(any_store: Store) -> None:
    async def both() -> Any:
        await any_store.run(create)
        return await any_store.read(lambda tx: tx.workspaces.get(workspace(1).id))

    answers: list[Any] = []
    Deferred.fromCoroutine(both()).addCallback(answers.append)
    assert answers == [workspace(1)]
    failures: list[Any] = []
    any_store.run(lambda tx: tx.nothing).addErrback(failures.append)
    assert failures[0].check(AttributeError)


def test_one_process_at_a_time_claims_the_store(open_store: OpenStore, store_url: str) -> None:
    first, second = open_store(store_url), open_store(store_url)
    first.lock()
    with pytest.raises(BrokenError, match=r"in use by .*pid \d+"):
        second.lock()
    second.call(create)
    first.close()
    second.lock()


def test_a_store_of_a_newer_program_is_refused(open_store: OpenStore, store_url: str) -> None:
    store = open_store(store_url)
    with store._database.writing.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BrokenError, match="9999 of its tables, which is newer than"):
        store.migrate()


def test_migrating_again_changes_nothing(any_store: Store) -> None:
    any_store.call(create)
    any_store.migrate()
    assert everything(any_store) == (["w1"], [1, 2])


def test_the_file_is_its_owners_alone(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.call(create)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("store.db*")} == {0o600}

"""SQLite's writers share a commit when they come right after each other, and nobody notices but the disk."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from flyinglow.store.turns import TOGETHER, Turns

pytestmark = pytest.mark.timeout(60)


def _prepare(raw: Any, _: object) -> None:
    raw.isolation_level = None
    raw.execute("PRAGMA journal_mode=WAL")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    options: dict[str, Any] = {"pool_size": 1, "pool_reset_on_return": None}
    made = create_engine(f"sqlite:///{tmp_path}/t.db", connect_args={"check_same_thread": False}, **options)
    event.listen(made, "connect", _prepare)
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with made.connect() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE t (name TEXT PRIMARY KEY)")
    yield made
    made.dispose()


class Scene:
    """One transaction that holds its turn until all the others wait for theirs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.turns = Turns(engine)
        self.commits = 0
        event.listen(engine, "commit", self._count)

    def _count(self, _: object) -> None:
        self.commits += 1

    def play(self, *bodies: Callable[[Connection], Any]) -> list[Future[Any]]:
        entered, go = threading.Event(), threading.Event()

        def holding(connection: Connection) -> Any:
            entered.set()
            assert go.wait(30)
            return bodies[0](connection)

        with ThreadPoolExecutor(len(bodies)) as threads:
            futures = [threads.submit(self.run, holding)]
            assert entered.wait(30)
            for number, body in enumerate(bodies[1:], 1):
                futures.append(threads.submit(self.run, body))
                self._until_waiting(number)
            go.set()
        return futures

    def run(self, body: Callable[[Connection], Any]) -> Any:
        with self.turns.transaction() as connection:
            return body(connection)

    def _until_waiting(self, number: int) -> None:
        pause = threading.Event()
        for _ in range(30_000):
            if self.turns._waiting == number:
                return
            pause.wait(0.001)
        pytest.fail("nobody waits for a turn")

    def names(self) -> set[str]:
        """Return what is committed."""
        with closing(sqlite3.connect(str(self.engine.url.database))) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM t")}


def add(name: str) -> Callable[[Connection], None]:
    def body(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO t VALUES (?)", (name,))

    return body


def fail(connection: Connection) -> None:
    add("undone")(connection)
    raise ValueError("no")


def test_those_who_wait_share_one_commit(engine: Engine) -> None:
    scene = Scene(engine)
    futures = scene.play(*(add(f"n{at}") for at in range(6)))
    assert [future.exception() for future in futures] == [None] * 6
    assert scene.names() == {f"n{at}" for at in range(6)}
    assert scene.commits == 1


def test_one_alone_is_committed_at_once(engine: Engine) -> None:
    scene = Scene(engine)
    scene.run(add("a"))
    scene.run(add("b"))
    assert scene.commits == 2


@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_that_fails_is_undone_alone(engine: Engine, place: int) -> None:
    scene = Scene(engine)
    bodies: list[Callable[[Connection], Any]] = [add(f"n{at}") for at in range(4)]
    bodies[place] = fail
    futures = scene.play(*bodies)
    assert [type(future.exception()) for future in futures].count(ValueError) == 1
    assert scene.names() == {f"n{at}" for at in range(4) if at != place}
    scene.run(add("later"))


def test_nobody_returns_before_the_commit(engine: Engine) -> None:
    scene = Scene(engine)
    returned: list[Future[Any]] = []
    seen: list[int] = []
    futures: list[Future[Any]] = []

    def watch(connection: Connection) -> None:
        add("second")(connection)
        seen.append(len(returned))
        seen.append(len(scene.names()))

    event.listen(engine, "commit", lambda _: seen.append(len(returned)))

    def first(connection: Connection) -> None:
        add("first")(connection)

    def run(body: Callable[[Connection], Any]) -> Any:
        with scene.turns.transaction() as connection:
            result = body(connection)
        returned.append(Future())
        return result

    scene.run = run  # type: ignore[method-assign]
    futures = scene.play(first, watch)
    assert [future.exception() for future in futures] == [None, None]
    assert seen == [0, 0, 0]  # while the second worked: none back, nothing to be seen; and none back at the commit


def test_a_commit_that_fails_fails_everyone_who_shared_it(engine: Engine) -> None:
    scene = Scene(engine)

    def broken(_: object) -> None:
        raise OSError("the disk is gone")

    event.listen(engine, "commit", broken)
    futures = scene.play(add("a"), add("b"))
    assert [type(future.exception()) for future in futures] == [OSError, OSError]
    event.remove(engine, "commit", broken)
    assert scene.names() == set()
    scene.run(add("later"))
    assert scene.names() == {"later"}


def test_when_the_database_undid_everything_nobody_is_told_otherwise(engine: Engine) -> None:
    scene = Scene(engine)

    def full(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise ValueError("full")

    futures = scene.play(add("a"), full)
    assert isinstance(futures[0].exception(), OperationalError)
    assert isinstance(futures[1].exception(), ValueError)
    assert scene.names() == set()
    scene.run(add("later"))


def test_so_many_and_no_more_share_a_commit(engine: Engine) -> None:
    scene = Scene(engine)
    futures = scene.play(*(add(f"n{at}") for at in range(TOGETHER + 1)))
    assert [future.exception() for future in futures] == [None] * (TOGETHER + 1)
    assert scene.commits == 2

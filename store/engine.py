"""Open a database by its URL: which one, how transactions begin, and how its failures read.

SQLite has one connection that writes, handed from thread to thread in turns (``turns.py``), and others that only read:
waiting for a turn costs nothing, where SQLite's own busy handler would sleep. PostgreSQL has one pool; a view
is a read-only REPEATABLE READ transaction, so that both databases show a view one state of the store.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, TransientError
from flyinglow.store.turns import Turns
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_SECONDS = 30
_RETRY_STATES = frozenset({"40001", "40P01", "23505", "23503"})  # serialization, deadlock, unique, foreign key
_RETRY_NAMES = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY"})
_PASSING_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")
_PASSING_CLASSES = frozenset({"08", "53", "57"})  # connection, resources, an operator's intervention


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. ``write`` gives a connection for one writing transaction, committed when its block ends."""

    url: URL
    writing: Engine
    reading: Engine
    write: Callable[[], AbstractContextManager[Connection]]

    @property
    def file(self) -> Path | None:
        """Return the SQLite file, or None for PostgreSQL."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.reading.dispose()
        self.writing.dispose()


def open_database(url: str, *, connections: int, durable: bool) -> Database:
    """Open the database that ``url`` names (``sqlite:////path/file`` or ``postgresql://user@host/name``).

    ``durable`` false leaves out SQLite's waiting for the disk. Raises InvalidError for a URL that names neither.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError as error:
        raise InvalidError("the store's URL cannot be read; give sqlite:////path or postgresql://host/name") from error
    if backend == "sqlite":
        return _sqlite(parsed, connections, durable=durable)
    if backend == "postgresql":
        return _postgresql(parsed, connections)
    raise InvalidError(f"the store cannot be kept in {backend!r}; give a URL of sqlite or postgresql")


def _sqlite(url: URL, connections: int, *, durable: bool) -> Database:
    if url.database in {None, "", ":memory:"}:
        raise InvalidError("the store's URL names no file; a store in memory would be lost")
    path = Path(url.database or "")
    try:  # made here, so that keys and user data are never readable by others, not even for a moment
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise BrokenError(f"the store's file {path} cannot be opened: {error.strerror}") from error
    pragmas = ("journal_mode=WAL", f"synchronous={'FULL' if durable else 'OFF'}", "foreign_keys=ON")
    arguments = {"timeout": BUSY_SECONDS, "cached_statements": 512, "check_same_thread": False}
    sizes: dict[str, Any] = {"pool_reset_on_return": None, "connect_args": arguments, "hide_parameters": True}
    writing = create_engine(url, pool_size=1, max_overflow=1, **sizes)
    reading = create_engine(url, pool_size=connections, max_overflow=connections, **sizes)
    event.listen(writing, "connect", _pragmas(pragmas))
    event.listen(reading, "connect", _pragmas((*pragmas, "query_only=ON")))
    event.listen(writing, "begin", _begin("BEGIN IMMEDIATE"))
    event.listen(reading, "begin", _begin("BEGIN"))
    return Database(url, writing, reading, Turns(writing).transaction)


def _pragmas(pragmas: tuple[str, ...]) -> Callable[[Any, Any], None]:
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    return connected


def _begin(statement: str) -> Callable[[Connection], None]:
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begun


def _postgresql(url: URL, connections: int) -> Database:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=connections,
        max_overflow=connections,
        pool_reset_on_return=None,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={"application_name": f"flyinglow pid {os.getpid()}", "connect_timeout": BUSY_SECONDS},
    )
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def write() -> Iterator[Connection]:
        with engine.connect() as connection, connection.begin():
            yield connection

    return Database(url, engine, reading, write)


def explain(error: DBAPIError) -> FlyingLowError:
    """Say what a database's failure means to the caller: run again (StaleError), try later, or a person is needed.

    Rows have keys in them, so neither parameters nor PostgreSQL's details, which cite rows, become part of it.
    """
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    words = getattr(getattr(error.orig, "diag", None), "message_primary", None) or error.orig
    if state in _RETRY_STATES or name in _RETRY_NAMES:
        return StaleError(f"the store met a newer row: {words}")
    unreachable = not name and state is None and isinstance(error, OperationalError)
    passing = name.startswith(_PASSING_NAMES) or (state or "")[:2] in _PASSING_CLASSES
    if error.connection_invalidated or unreachable or passing:
        return TransientError(f"the store did not answer: {words}")
    return BrokenError(f"the store failed: {words}")

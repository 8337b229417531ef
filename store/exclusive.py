"""Let only one daemon at a time work on a store.

SQLite: a lock on a file beside the database, which the kernel drops when its holder dies. PostgreSQL: an advisory
lock on a connection held open, which the server drops when the connection breaks: then another daemon may take it, so
the holder asks from time to time whether the lock is still its own.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from flyinglow.nodectl.errors import BrokenError
from flyinglow.store.engine import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from flyinglow.store.engine import Database
    from flyinglow.workspace.ports import Now

_KEY = 0x666C796C6F77  # "flylow"; advisory locks are numbered by database
_TRY = text("SELECT pg_try_advisory_lock(:key)")
_HOLDER = text(
    "SELECT application_name || coalesce(' at ' || host(client_addr), '')"
    " || ' since ' || date_trunc('second', backend_start)"
    " FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = :key"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
)


_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_MINE = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
    " AND (classid::bigint << 32) + objid::bigint = :key)"
)


def take(database: Database, now: Now) -> AbstractContextManager[Callable[[], bool]]:
    """Return a context in which the store is ours; entering raises BrokenError naming the other holder.

    It gives a function that says whether the store is ours still; that one blocks and raises nothing.
    """
    if database.file is not None:
        return _file_lock(database.file.with_name(f"{database.file.name}.lock"), now)
    return _advisory_lock(database)


@contextmanager
def _file_lock(path: Path, now: Now) -> Iterator[Callable[[], bool]]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            raise _taken(holder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} since {now():%Y-%m-%dT%H:%M:%SZ}\n".encode(), 0)
        yield partial(_is_file, descriptor, path)
    finally:  # the file stays: removing it would let two processes lock two files of one name
        os.close(descriptor)


@contextmanager
def _advisory_lock(database: Database) -> Iterator[Callable[[], bool]]:
    try:
        connection = database.writing.connect().execution_options(isolation_level="AUTOCOMMIT")
    except DBAPIError as error:
        raise explain(error) from error
    try:
        if not _try(connection):
            holder = connection.execute(_HOLDER, {"key": _KEY}).scalars().first()
            raise _taken(holder or "another process")
        yield partial(_is_mine, connection)
        with suppress(SQLAlchemyError):  # a connection that broke has dropped it
            # said, not left to the end of the connection, which the server may notice a moment later
            connection.execute(_UNLOCK, {"key": _KEY})
    finally:
        connection.invalidate()  # not back into the pool: closing it is what drops the lock
        connection.close()


def _is_file(descriptor: int, path: Path) -> bool:
    """Say whether the locked file is the one that another process would lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _is_mine(connection: Connection) -> bool:
    """Ask the server. A connection that broke, or was made anew, holds no lock."""
    try:
        return bool(connection.execute(_MINE, {"key": _KEY}).scalar_one())
    except SQLAlchemyError:
        return False


def _try(connection: Connection) -> bool:
    return bool(connection.execute(_TRY, {"key": _KEY}).scalar_one())


def _taken(holder: str) -> BrokenError:
    return BrokenError(f"the store is in use by {holder}; two daemons must not share one store: stop the other first")

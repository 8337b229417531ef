"""The writers' turns on SQLite: one at a time, and one commit for those who come right after each other.

Waiting for the disk is most of a small transaction's time. Who ends his turn while others wait leaves the database's
transaction open for the next, and waits until the last of them has committed for all. Each sees what those before him
wrote; a failing one is undone alone (a savepoint). Nobody returns before what he wrote is on the disk.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

TOGETHER = 32
"""Most transactions that share a commit, so that the first of them does not wait for long."""


class _Group:
    """Transactions that are committed together."""

    def __init__(self, engine: Engine) -> None:
        self.size = 0
        self.done = threading.Event()
        self.error: Exception | None = None
        with ExitStack() as opened:
            self.connection: Connection = opened.enter_context(engine.connect())
            self._transaction = self.connection.begin()
            self._opened = opened.pop_all()

    def savepoint(self, words: str) -> None:
        self.connection.exec_driver_sql(f"{words} turn")

    def end(self, failure: Exception | None = None) -> None:
        """Commit, or undo all for this failure, and tell those who wait."""
        self.error = failure
        try:
            with self._opened:
                self._commit_or_undo()
        except Exception as error:  # noqa: BLE001 - raised by each of those who wait
            self.error = self.error or error
        finally:
            self.done.set()

    def _commit_or_undo(self) -> None:
        if self.error is not None:
            self._transaction.rollback()
            return
        try:
            self._transaction.commit()
        except BaseException:
            self.connection.invalidate()  # nothing of it may be left for the next one on this connection
            raise


class Turns:
    """Hands the writing connection of ``engine``, which must have no more than one, from thread to thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._group: _Group | None = None  # left open by the turn before; changed only by whose turn it is

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the connection for one transaction; on return it is committed. Raises what made the commit fail."""
        self._wait()
        try:
            group = self._group or _Group(self._engine)
            self._group = None
            yield from self._taken(group)
            self._pass_on(group)
        finally:
            self._turn.release()
        group.done.wait()
        if group.error is not None:
            raise group.error

    def _wait(self) -> None:
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._counting:
                self._waiting -= 1

    def _taken(self, group: _Group) -> Iterator[Connection]:
        """Let the transaction work; one that fails is undone, and the others of its group are not."""
        shared = group.size > 0
        try:
            if shared:
                group.savepoint("SAVEPOINT")
            yield group.connection
            if shared:
                group.savepoint("RELEASE")
            group.size += 1
        except BaseException as failure:
            self._undo(group, failure, shared=shared)
            raise

    def _undo(self, group: _Group, failure: BaseException, *, shared: bool) -> None:
        reason = failure if isinstance(failure, Exception) else RuntimeError("a transaction was broken off")
        if not shared:
            group.end(reason)
            return
        try:
            group.savepoint("ROLLBACK TO")
            group.savepoint("RELEASE")
        except DBAPIError as error:  # the database has undone everything by itself, as when the disk is full
            group.end(error)
        else:
            self._pass_on(group)

    def _pass_on(self, group: _Group) -> None:
        """Leave the transaction to the next in line, who is sure to come; without one, commit."""
        if self._waiting and group.size < TOGETHER:
            self._group = group
        else:
            group.end()

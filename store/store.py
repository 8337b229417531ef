"""The road to storage: one function is one transaction.

A transaction that was committed is told: to the listeners, the events it added; to ``committed``, the name of its
step. Both happen on the committing thread, after the writers' turn was passed on.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from flyinglow.store.engine import explain, open_database
from flyinglow.store.exclusive import take
from flyinglow.store.revision import migrate
from flyinglow.store.tx import Tx
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.python.threadpool import ThreadPool

    from flyinglow.workspace.model import Event
    from flyinglow.workspace.ports import Now

T = TypeVar("T")

TRIES = 20
"""How often a transaction is run that keeps meeting newer rows."""


class Store:
    """Implements ``workspace.ports.Store`` on SQLite or PostgreSQL. Thread-safe; ``call`` must not be nested.

    ``reactor`` and ``pool`` carry ``run`` and ``read``; without them both work at once, on the calling thread (for
    programs without a reactor, and for tests). ``durable`` false gives up SQLite's waiting for the disk.
    ``connections`` is how many threads may read (PostgreSQL: work) at a time before others wait.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Now,
        reactor: Any = None,
        pool: ThreadPool | None = None,
        listeners: Iterable[Callable[[tuple[Event, ...]], None]] = (),
        committed: Callable[[str], None] | None = None,
        connections: int = 16,
        durable: bool = True,
    ) -> None:
        self._database = open_database(url, connections=connections, durable=durable)
        self._now = now
        self._reactor = reactor
        self._pool = pool
        self._listeners = list(listeners)
        self._committed = committed
        self._held = ExitStack()
        self._is_held: Callable[[], bool] = lambda: False
        self._inside = threading.local()
        self._log = Logger()

    def migrate(self) -> None:
        """Bring the tables up to date; raises BrokenError when a newer Flying Low wrote them. May be repeated."""
        migrate(self._database)

    def lock(self) -> None:
        """Claim the store for this process until ``close``; raises BrokenError naming who holds it already."""
        self._is_held = self._held.enter_context(take(self._database, self._now))

    def still_locked(self) -> bool:
        """Say whether the claim of ``lock`` still stands; blocks. Once it was lost, another daemon may have the store.

        A database server that was restarted, or that ended our connection, has dropped it.
        """
        return self._is_held()

    def listen(self, listener: Callable[[tuple[Event, ...]], None]) -> None:
        """Call ``listener(events)`` after each commit that added events, on the committing thread."""
        self._listeners.append(listener)

    def call(self, fn: Callable[[Any], T], *, step: str | None = None) -> T:
        """Run one writing transaction on this thread; blocks. Retries on StaleError, then raises it.

        ``step`` names it to ``committed``; without it the function's qualified name does. Raises TransientError when
        the database does not answer and BrokenError when it is broken.
        """
        for _ in range(TRIES - 1):
            try:
                return self._write_once(fn, step)
            except StaleError:
                continue
        return self._write_once(fn, step)

    def view(self, fn: Callable[[Any], T]) -> T:
        """Run one read-only transaction on this thread; blocks. It sees one state of the store from end to end."""
        with self._alone():
            try:
                with self._database.reading.connect() as connection, connection.begin():
                    return fn(Tx(connection, writing=False))
            except DBAPIError as error:
                raise explain(error) from error

    def run(self, fn: Callable[[Any], T], *, step: str | None = None) -> Deferred[T]:
        """Run one writing transaction on the thread pool, from the reactor."""
        return self._defer(self.call, fn, step=step)

    def read(self, fn: Callable[[Any], T]) -> Deferred[T]:
        """Run one read-only transaction on the thread pool, from the reactor."""
        return self._defer(self.view, fn)

    def close(self) -> None:
        """Give up the claim and close the connections; transactions under way finish. May be repeated."""
        self._held.close()
        self._database.close()

    def _write_once(self, fn: Callable[[Any], T], step: str | None) -> T:
        with self._alone():
            try:
                with self._database.write() as connection:
                    tx = Tx(connection, writing=True)
                    result = fn(tx)
            except DBAPIError as error:
                raise explain(error) from error
        self._tell(tx.added, step or str(getattr(fn, "__qualname__", type(fn).__qualname__)))
        return result

    def _tell(self, events: tuple[Event, ...], step: str) -> None:
        if self._committed is not None:
            self._committed(step)
        for listener in self._listeners if events else ():
            try:
                listener(events)
            except Exception:  # noqa: BLE001 - it is committed: the caller must not take it for undone
                self._log.failure("A listener failed on the events of {step}", step=step)

    def _defer(self, blocking: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        if self._pool is None:
            return maybeDeferred(blocking, *args, **kwargs)
        return deferToThreadPool(self._reactor, self._pool, blocking, *args, **kwargs)

    def _alone(self) -> ExitStack:
        """Refuse a transaction inside another on the same thread, which would wait for itself."""
        if getattr(self._inside, "busy", False):
            raise RuntimeError("a transaction was begun inside another; use the one that is open")
        self._inside.busy = True
        stack = ExitStack()
        stack.callback(setattr, self._inside, "busy", False)
        return stack

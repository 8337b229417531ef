"""A Twisted reactor in a thread of its own, so that plain pytest functions can run coroutines on a real one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.process import reapAllProcesses
from twisted.internet.task import LoopingCall
from twisted.internet.threads import blockingCallFromThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_REAP_EVERY = 0.02  # seconds


class ReactorThread:
    """The process's reactor, running in a thread. A reactor cannot be started twice, so there is one for all tests."""

    _only: ReactorThread | None = None

    def __init__(self) -> None:
        # A test program decides on its reactor as a server does.
        from twisted.internet import reactor  # noqa: PLC0415, TID251

        self.reactor: Any = reactor
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reactor", daemon=True)
        self._thread.start()
        self._started.wait()

    @classmethod
    def get(cls) -> ReactorThread:
        """Return the running one, starting it the first time."""
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def run(self, work: Callable[[], Coroutine[Any, Any, T] | Deferred[T]], timeout: float = 30.0) -> T:
        """Run what waits on the reactor and return its result, or raise its error; TimeoutError after ``timeout`` s."""

        def start() -> Deferred[Any]:
            deferred = Deferred.fromCoroutine(_awaited(work))
            return deferred.addTimeout(timeout, self.reactor, _too_late)

        return cast("T", blockingCallFromThread(self.reactor, start))

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function on the reactor and return its result."""

        def start() -> Deferred[Any]:
            return maybeDeferred(function, *args)

        return cast("T", blockingCallFromThread(self.reactor, start))

    def _run(self) -> None:
        # Signal handlers belong to the main thread, so ended processes are looked for instead of announced.
        self.reactor.callWhenRunning(LoopingCall(reapAllProcesses).start, _REAP_EVERY)
        self.reactor.callWhenRunning(self._started.set)
        self.reactor.run(installSignalHandlers=False)


async def _awaited(work: Callable[[], Coroutine[Any, Any, T] | Deferred[T]]) -> T:
    return await work()


def _too_late(_result: object, seconds: float) -> Any:
    raise TimeoutError(f"not done within {seconds:g} s")

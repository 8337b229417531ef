"""What is to be looked at again after a while, by the reactor's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class ReactorTime(Protocol):
    """The monotonic time of a Twisted reactor, or of its test ``Clock`` (IReactorTime)."""

    def seconds(self) -> float:
        """Return the time."""

    def callLater(self, delay: float, callable: Callable[..., Any], /) -> Timer:
        """Call this after ``delay`` seconds."""


class Retries:
    """Gives workspaces to ``look`` when their time has come. An id is in it while it waits."""

    def __init__(self, reactor: ReactorTime, look: Callable[[Iterable[str]], None]) -> None:
        self._reactor = reactor
        self._look = look
        self._timers: set[Timer] = set()
        self._waiting: set[str] = set()
        self._stopped = False

    def __contains__(self, workspace_id: str) -> bool:
        return workspace_id in self._waiting

    def later(self, seconds: float, ids: Iterable[str]) -> None:
        """Have these looked at after so many seconds."""
        if self._stopped:
            return

        waiting = frozenset(ids)

        def again() -> None:
            self._timers.discard(timer)
            self._waiting -= waiting
            self._look(waiting)

        self._waiting |= waiting
        timer = self._reactor.callLater(seconds, again)
        self._timers.add(timer)

    def stop(self) -> None:
        """Look at nothing any more."""
        self._stopped = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

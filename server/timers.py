"""The daemon's periodic work: what fails is logged and tried again at the next turn."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger("flyinglow.server.timers")


class Timers:
    """Runs named jobs, each at its own interval; a job that still runs is not started again."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._calls: dict[str, LoopingCall] = {}
        self._running: dict[str, Deferred[None]] = {}

    def every(self, seconds: float, name: str, job: Callable[[], Awaitable[Any]], *, at_once: bool = True) -> None:
        """Run ``job`` every ``seconds``, the first time at once or after the first interval."""
        call = LoopingCall(self._turn, name, job)
        call.clock = self._clock
        self._calls[name] = call
        call.start(seconds, now=at_once)

    def _turn(self, name: str, job: Callable[[], Awaitable[Any]]) -> Deferred[None]:
        done = Deferred.fromCoroutine(_attempt(name, job))
        self._running[name] = done
        return done

    def stop(self) -> Deferred[Any]:
        """Start nothing any more; fires when what runs has ended."""
        for call in self._calls.values():
            if call.running:
                call.stop()
        return DeferredList(list(self._running.values()))


async def _attempt(name: str, job: Callable[[], Awaitable[Any]]) -> None:
    try:
        await job()
    except Exception:
        log.exception("%s failed; it runs again at its next turn", name, extra={"job": name})

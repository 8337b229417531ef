"""Many at once: what comes in while a piece of work is under way is done together, in the next one.

So a burst of reports costs a few transactions, and a lone one waits for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
from twisted.internet.defer import Deferred

from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted.python.failure import Failure

log = structlog.get_logger(__name__)

I = TypeVar("I")  # noqa: E741 - what goes in
O = TypeVar("O")  # noqa: E741 - what comes out


class Batch(Generic[I, O]):
    """Hands items to ``work``, as many at once as have gathered, and each item's own result to who brought it.

    ``work`` returns a result for each item, in their order. When it fails with anything but a TransientError, every
    item is done once more on its own, so that a bad one fails alone.
    """

    def __init__(self, work: Callable[[Sequence[I]], Awaitable[Sequence[O]]], most: int = 512) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[I, Deferred[O]]] = []
        self._busy = False

    def add(self, item: I) -> Deferred[O]:
        """Return what becomes of the item; it is done even when nobody waits for it any longer."""
        result: Deferred[O] = Deferred()
        self._waiting.append((item, result))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._run()).addErrback(_broken)
        return result

    async def _run(self) -> None:
        try:
            while self._waiting:
                now, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._together(now)
        finally:
            self._busy = False

    async def _together(self, pairs: list[tuple[I, Deferred[O]]]) -> None:
        try:
            results = await self._work([item for item, _ in pairs])
        except TransientError as error:
            for _, waiter in pairs:
                waiter.errback(error)
        except Exception as error:  # noqa: BLE001 - it is handed to whom it concerns
            if len(pairs) == 1:
                pairs[0][1].errback(error)
                return
            log.warning("not all of them together: each is done on its own", count=len(pairs), error=str(error))
            for pair in pairs:
                await self._together([pair])
        else:
            for (_, waiter), result in zip(pairs, results, strict=True):
                waiter.callback(result)


def _broken(failure: Failure) -> None:
    log.error("a batch broke off", error=str(failure.value))

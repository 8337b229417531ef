"""How many requests may be under way: in all, to one consumer, and to consumers that are failing.

A consumer that hangs holds at most its own few slots, and from its first failure on it waits in a place apart, so
however many dead consumers there are, the healthy ones' slots stay theirs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredSemaphore

from flyinglow.notification.model import target_of


class Slots:
    """Hands out the right to make one request; first come, first served."""

    def __init__(self, *, total: int = 128, suspect: int = 16, per_consumer: int = 8) -> None:
        self._healthy = DeferredSemaphore(total)
        self._suspect = DeferredSemaphore(suspect)
        self._per_consumer = per_consumer
        self._consumers: dict[tuple[str, int], tuple[DeferredSemaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, address: str, *, failing: bool) -> AsyncIterator[None]:
        """Hold a slot for a request to this address; ``failing`` tells that its last request failed."""
        name = target_of(address)
        own = self._enter(name)
        try:
            await own.acquire()  # first the consumer's own: who waits here keeps nobody else waiting
            try:
                everyone = self._suspect if failing else self._healthy
                await everyone.acquire()
                try:
                    yield
                finally:
                    everyone.release()
            finally:
                own.release()
        finally:
            self._leave(name)

    def _enter(self, name: tuple[str, int]) -> DeferredSemaphore:
        own, users = self._consumers.get(name, (DeferredSemaphore(self._per_consumer), 0))
        self._consumers[name] = (own, users + 1)
        return own

    def _leave(self, name: tuple[str, int]) -> None:
        own, users = self._consumers[name]
        if users == 1:
            del self._consumers[name]
        else:
            self._consumers[name] = (own, users - 1)

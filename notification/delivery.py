"""Delivery: one line for each subscription, in order, at least once, with patience for consumers that fail.

A line has one request in flight. What queued up meanwhile goes into the next request together. A failed request is
made again with the same messages and the same MessageID after 1, 2, 4 … 60 s; the subscription of a consumer that
failed all the time for ``give_up`` seconds is paused, until its owner resumes it or it ends. All of it is in the
store, so a restart goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from flyinglow.notification.ledger import Entry, Ledger, Work
from flyinglow.notification.model import Delivery, Subscription
from flyinglow.notification.slots import Slots
from flyinglow.workspace.ports import Now, Store

log = logging.getLogger(__name__)

SUCCESS: Final = range(200, 300)
"""Whatever a consumer says with one of these, it has the message."""


class Sender(Protocol):
    """Makes one HTTP request."""

    def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Awaitable[int]:
        """Post and return the status; raises for whatever came between. Ends within its own time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One HTTP request's content."""

    headers: Mapping[str, str]
    body: bytes


Compose = Callable[[Subscription, Sequence[Delivery]], Message]
"""Make one request of these messages; the same request whenever it is asked for the same ones.

Without messages: the request that tells a consumer that its subscription's time is over.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Patience (seconds) and sizes (messages in one request)."""

    batch: int = 50
    first_delay: float = 1.0
    longest_delay: float = 60.0
    give_up: float = 3600.0


class _Line:
    """One subscription's line while it has something to do."""

    __slots__ = ("running", "woken")

    def __init__(self) -> None:
        self.woken = False
        self.running: Deferred[None] | None = None


class Courier:
    """Delivers what is queued. All its methods are called on the reactor's thread.

    ``random`` returns numbers in [0, 1), for the jitter of retries.
    """

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        sender: Sender,
        compose: Compose,
        clock: IReactorTime,
        now: Now,
        random: Callable[[], float],
        slots: Slots | None = None,
        settings: DeliverySettings | None = None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._sender = sender
        self._compose = compose
        self._clock = clock
        self._now = now
        self._random = random
        self._slots = slots or Slots()
        self._settings = settings or DeliverySettings()
        self._lines: dict[str, _Line] = {}
        self._stopped = False

    async def start(self) -> None:
        """Take up what an earlier run left; may be repeated."""
        self.wake(await self._store.run(lambda tx: tx.deliveries.waiting()))

    def wake(self, subscriptions: Sequence[str]) -> None:
        """Take note that these subscriptions have something to deliver (the drainer's callback)."""
        for name in subscriptions:
            line = self._lines.get(name)
            if line is not None:
                line.woken = True
            elif not self._stopped:
                self._lines[name] = line = _Line()
                line.running = Deferred.fromCoroutine(self._serve(name, line))
                line.running.addErrback(_unless_cancelled, name)

    async def stop(self) -> None:
        """Break off what is under way; what was answered already is still recorded."""
        self._stopped = True
        running = [line.running for line in self._lines.values() if line.running is not None]
        for line in running:
            line.cancel()
        await gatherResults(running)
        await self._ledger.idle()

    async def _serve(self, name: str, line: _Line) -> None:
        try:
            entry = Entry(subscription_id=name, limit=self._settings.batch)
            while True:
                line.woken = False
                work = await self._enter(entry)
                if self._stopped or (work is None and not line.woken):
                    return
                entry = await self._round(name, work)
        finally:
            del self._lines[name]

    async def _round(self, name: str, work: Work | None) -> Entry:
        """Do one round of a line; return what to enter in the ledger before the next."""
        if work is not None and work.over and not work.subscription.pull_point_id:
            await self._attempt(work)  # once: who does not hear it knows when it was to end
            return Entry(subscription_id=name, limit=0, told=True)
        if work is None or not work.deliveries:  # woken since it was asked, or put into a pull point already
            return Entry(subscription_id=name, limit=self._settings.batch)
        again = Entry(subscription_id=name, limit=len(work.deliveries))
        wait = self._wait(work.subscription)
        if wait > 0:
            await deferLater(self._clock, wait)
            return again  # it may have been unsubscribed meanwhile
        error = await self._attempt(work)
        if error is None:
            return replace(again, limit=self._settings.batch, delivered=work.deliveries, change=_recovered)
        failed = self._failed(work.subscription, error)
        if self._hopeless(failed):
            log.warning("subscription %s of %s paused: %s", name, failed.owner, reason := _despair(failed))
            return replace(again, change=lambda row: _given_up(row, failed, self._now(), reason))
        return replace(again, change=lambda row: _with_failure(row, failed))

    async def _enter(self, entry: Entry) -> Work | None:
        while True:
            try:
                return await self._ledger.enter(entry)
            except CancelledError:
                raise
            except Exception:
                log.exception("deliveries of subscription %s could not be recorded", entry.subscription_id)
            await deferLater(self._clock, self._settings.longest_delay / 2)

    async def _attempt(self, work: Work) -> str | None:
        """Make one request; return what went wrong."""
        row = work.subscription
        async with self._slots.slot(row.consumer, failing=row.failures > 0):
            try:
                message = self._compose(row, work.deliveries)
                status = await self._sender.post(row.consumer, message.headers, message.body)
            except Exception as error:  # whatever it is, it is this line's trouble only
                if self._stopped:
                    raise CancelledError from error
                log.info("subscription %s: consumer %s failed: %r", row.id, row.consumer, error)
                return f"{type(error).__name__}: {error}"[:200]
        return None if status in SUCCESS else f"HTTP status {status}"

    def _wait(self, row: Subscription) -> float:
        if row.retry_at is None:
            return 0.0
        left = (row.retry_at - self._now()).total_seconds()
        return min(left, 2 * self._settings.longest_delay)  # the clock on the wall may have been set back

    def _failed(self, row: Subscription, error: str) -> Subscription:
        now = self._now()
        settings = self._settings
        delay = min(settings.longest_delay, settings.first_delay * 2.0 ** min(row.failures, 30))
        return replace(
            row,
            failures=row.failures + 1,
            failing_since=row.failing_since or now,
            retry_at=now + timedelta(seconds=delay * (0.75 + 0.5 * self._random())),
            last_error=error,
        )

    def _hopeless(self, row: Subscription) -> bool:
        since: datetime = row.failing_since or self._now()
        return (self._now() - since).total_seconds() >= self._settings.give_up


def _recovered(row: Subscription) -> Subscription:
    if row.failures == 0:
        return row
    return replace(row, failures=0, failing_since=None, retry_at=None, last_error="")


def _with_failure(row: Subscription, failed: Subscription) -> Subscription:
    # Of the row as it is now only these columns are ours: it may have been renewed meanwhile.
    return replace(
        row,
        failures=failed.failures,
        failing_since=failed.failing_since,
        retry_at=failed.retry_at,
        last_error=failed.last_error,
    )


def _despair(failed: Subscription) -> str:
    since = failed.failing_since.isoformat(timespec="seconds") if failed.failing_since else "now"
    times = f"{failed.failures} times since {since}"
    return f"its consumer {failed.consumer} failed {times}, last: {failed.last_error}; resume it when it answers again"


def _given_up(row: Subscription, failed: Subscription, now: datetime, reason: str) -> Subscription:
    return replace(_with_failure(row, failed), paused_at=row.paused_at or now, pause_reason=reason)


def _unless_cancelled(failure: object, name: str) -> None:
    if getattr(failure, "type", None) is not CancelledError:
        log.error("the line of subscription %s ended: %s", name, failure)

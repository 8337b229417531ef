"""The books of delivery: what waits for whom, and what was delivered, with many entries in one transaction.

Each subscription's line asks for its next messages, and reports what became of the last ones. What is asked while a
transaction runs is answered by the next one together, so fifty consumers cost one commit a round, not fifty. When
many ask, the ledger rests a moment between transactions: more messages ride in each request then, and the store is
free for the services that write beside it (twice the messages a second, measured).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from flyinglow.notification.model import Delivery, Subscription
from flyinglow.notification.ports import NotificationTx
from flyinglow.workspace.model import Event
from flyinglow.workspace.ports import Now, Store

log = logging.getLogger(__name__)

Put = Callable[[NotificationTx, Subscription, Sequence[Delivery]], None]
"""Put messages where their subscription's pull point keeps them, in the transaction; none: that its time is over."""

Settled = Callable[[NotificationTx, Sequence[Event], datetime], None]
"""Called in the transaction that forgets delivered messages, with their events and the time."""

ENTRIES = 500
"""Most entries answered by one transaction, so that it stays short for the services beside it."""

MANY = 5
"""From this many entries on, a transaction is followed by a rest, unless there is another one's worth already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What to do for one subscription: its row as it is now, and its oldest messages in order.

    Without any: its consumer is a pull point that got some of its messages just now, and there may be more.
    ``over``: its time is over, and its consumer is to be told that.
    """

    subscription: Subscription
    deliveries: tuple[Delivery, ...]
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line's report and question.

    ``delivered`` is forgotten; ``change`` makes the new row of the old one. The answer is the next ``limit`` messages
    (0: none are wanted). ``told``: its consumer was told that its time is over, or cannot be; it is to be removed.
    """

    subscription_id: str
    limit: int
    delivered: tuple[Delivery, ...] = ()
    change: Callable[[Subscription], Subscription] | None = None
    told: bool = False


class Ledger:
    """Answers entries in groups, one transaction at a time. Used on the reactor's thread only. ``rest`` is seconds.

    Messages for pull points are put there at once, by ``put``; ``arrived`` is told afterwards in which ones.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: IReactorTime,
        now: Now,
        settled: Settled | None = None,
        put: Put | None = None,
        arrived: Callable[[Sequence[str]], None] = lambda _: None,
        rest: float = 0.03,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rest = rest
        self._resting: Deferred[None] | None = None
        self._now = now
        self._settled = settled
        self._put = put
        self._arrived = arrived
        self._asked: list[tuple[Entry, Deferred[Work | None]]] = []
        self._busy = False
        self._idle: list[Deferred[None]] = []

    def enter(self, entry: Entry) -> Awaitable[Work | None]:
        """Commit an entry and return what to do next; None when there is nothing, or nobody to send it to.

        Fails with the store's error.
        """
        answer: Deferred[Work | None] = Deferred()
        self._asked.append((entry, answer))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._run())
        return answer

    def idle(self) -> Deferred[None]:
        """Return a Deferred that fires once everything entered is committed."""
        if not self._busy:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        if self._resting is not None:
            self._resting.cancel()
        return waiting

    async def _run(self) -> None:
        while self._asked:
            group, self._asked = self._asked[:ENTRIES], self._asked[ENTRIES:]
            await self._answer(group)
            if len(group) >= MANY and len(self._asked) < ENTRIES and not self._idle:
                await self._pause()
        self._busy = False
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)

    async def _pause(self) -> None:
        self._resting = deferLater(self._clock, self._rest)
        with suppress(CancelledError):
            await self._resting
        self._resting = None

    async def _answer(self, group: Sequence[tuple[Entry, Deferred[Work | None]]]) -> None:
        entries = [entry for entry, _ in group]

        try:
            results = await self._results(entries)
        except Exception as error:  # noqa: BLE001 - whoever entered it is told
            if len(group) == 1:
                group[0][1].errback(error)
                return
            log.warning("a group of %d delivery entries failed, now one by one: %s", len(group), error)
            for single in group:  # one entry that cannot be committed must not stop the others
                await self._answer([single])
            return
        pulled = [work.subscription.pull_point_id for work in results if work is not None and not work.deliveries]
        self._arrived([name for name in pulled if name])
        for (_, answer), result in zip(group, results, strict=True):
            answer.callback(result)

    async def _results(self, entries: Sequence[Entry]) -> list[Work | None]:
        """Carry out entries. Who only asks what to do makes nobody wait for the disk, unless a pull point is filled."""
        if not any(entry.delivered or entry.change or entry.told for entry in entries):
            found = await self._store.read(lambda tx: self.look(tx, entries))
            if not any(work and work.subscription.pull_point_id for work in found):
                return found
        return await self._store.run(lambda tx: self.commit(tx, entries))

    def look(self, tx: NotificationTx, entries: Sequence[Entry]) -> list[Work | None]:
        """Return what to do for entries that report nothing; the transaction."""
        rows = tx.subscriptions.named([entry.subscription_id for entry in entries])
        return self._works(tx, entries, rows, self._now())[0]

    def commit(self, tx: NotificationTx, entries: Sequence[Entry]) -> list[Work | None]:
        """Carry out entries; the transaction. What many have in common is asked of the store once."""
        at = self._now()
        rows = tx.subscriptions.named([entry.subscription_id for entry in entries])
        self._note(
            tx, [(delivery, rows.get(entry.subscription_id)) for entry in entries for delivery in entry.delivered]
        )
        tx.subscriptions.remove(told := [entry.subscription_id for entry in entries if entry.told])
        rows = {name: row for name, row in rows.items() if name not in told}
        works, pulled = self._works(tx, entries, rows, at)
        for work in pulled:
            if self._put is not None:
                self._put(tx, work.subscription, work.deliveries)
            self._note(tx, [(delivery, None) for delivery in work.deliveries])
        tx.subscriptions.remove([work.subscription.id for work in pulled if work.over])
        return [replace(work, deliveries=()) if work and work.subscription.pull_point_id else work for work in works]

    def _works(
        self, tx: NotificationTx, entries: Sequence[Entry], rows: Mapping[str, Subscription], at: datetime
    ) -> tuple[list[Work | None], list[Work]]:
        """Return what is to be done for each entry, and what of that is for pull points."""
        wanting = {entry.subscription_id: _changed(tx, entry, rows.get(entry.subscription_id), at) for entry in entries}
        limits = {entry.subscription_id: entry.limit for entry in entries}
        heads = tx.deliveries.heads({row.id: 1 if row.raw else limits[row.id] for row in wanting.values() if row})
        works = [_work(wanting[entry.subscription_id], heads) for entry in entries]
        for place, entry in enumerate(entries):
            row = rows.get(entry.subscription_id)
            if row is not None and row.is_over(at) and row.hears_of_its_end:
                works[place] = Work(subscription=row, deliveries=(), over=True)
        return works, [work for work in works if work and work.subscription.pull_point_id]

    def _note(self, tx: NotificationTx, delivered: Sequence[tuple[Delivery, Subscription | None]]) -> None:
        at = self._now()
        events = {delivery.event.id: delivery.event for delivery, _ in delivered}
        if events and self._settled is not None:
            self._settled(tx, tuple(events.values()), at)
        by_failures: dict[int, list[int]] = {}
        for delivery, row in delivered:
            by_failures.setdefault(row.failures if row else 0, []).append(delivery.position)
        for failures, positions in by_failures.items():
            tx.deliveries.done(positions, at, failures)


def _work(row: Subscription | None, heads: Mapping[str, Sequence[Delivery]]) -> Work | None:
    head = tuple(heads.get(row.id, ())) if row else ()
    return Work(subscription=row, deliveries=head) if row and head else None


def _changed(tx: NotificationTx, entry: Entry, row: Subscription | None, at: datetime) -> Subscription | None:
    """Carry out an entry's change; return the row when something is to be sent to its consumer."""
    if row is None or row.is_over(at):
        return None  # unsubscribed, or over and about to be swept
    changed = row if entry.change is None else entry.change(row)
    if changed != row:
        tx.subscriptions.write(changed)
    return None if entry.limit == 0 or changed.paused_at is not None else changed

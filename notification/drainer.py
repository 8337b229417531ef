"""The drainer: hands each event of the outbox on, once, to the folds and to the subscriptions that want it.

One transaction reads unsent events (never "id greater than the last": commits are not in id order), lets the folds
derive, queues the deliveries and marks the events as sent. A crash anywhere therefore loses and doubles nothing.
Filters are evaluated meanwhile, as far as that is quick; what is left is evaluated between transactions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from flyinglow.notification.contents import Contents, Patience
from flyinglow.notification.folds import Fold
from flyinglow.notification.model import Subscription, broker_of
from flyinglow.notification.ports import NotificationTx
from flyinglow.notification.sieve import UNTOLD, Sieve, paused
from flyinglow.notification.views import form_of
from flyinglow.workspace.model import Event, ResourceKey
from flyinglow.workspace.ports import Now, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one transaction handed on: how many events, to which subscriptions, and whether filters are still to ask."""

    events: int
    subscriptions: tuple[str, ...]
    unjudged: bool = False


def wants(subscription: Subscription, event: Event) -> bool:
    """Say whether an event is on one of a subscription's topics."""
    return form_of(subscription.topics, event) is not None


def _producers(event: Event) -> tuple[ResourceKey, ResourceKey]:
    """Return what subscriptions that may want an event are to: the resource itself, or all of its owner's."""
    return event.key, broker_of(event.owner)


class Drainer:
    """Drains after every commit that wrote events, and on a timer for what a crash left behind.

    ``queued`` is called on the reactor with the subscriptions that got something to deliver. ``properties`` returns the
    property document of what an event is from, in the drainer's transaction; None when it is gone. ``notice`` and all
    else here must be called on the reactor's thread.
    """

    def __init__(
        self,
        *,
        store: Store,
        folds: Sequence[Fold],
        clock: IReactorTime,
        now: Now,
        queued: Callable[[Sequence[str]], None],
        contents: Contents,
        properties: Callable[[NotificationTx, Event], bytes | None] = lambda _tx, _event: None,
        batch: int = 500,
        interval: float = 5.0,
    ) -> None:
        self._store = store
        self._folds = tuple(folds)
        self._now = now
        self._queued = queued
        self._contents = contents
        self._properties = properties
        self._sieve = Sieve(contents=contents, properties=properties, now=now)
        self._unjudged = True
        self._batch = batch
        self._interval = interval
        self._timer = LoopingCall(self._look)
        self._timer.clock = clock
        self._woken = False
        self._busy = False
        self._resting: list[Deferred[None]] = []

    def start(self) -> None:
        """Drain now, and go on."""
        self._timer.start(self._interval)

    def stop(self) -> Deferred[None]:
        """Stop; fires when no transaction is under way any more."""
        if self._timer.running:
            self._timer.stop()
        self._woken = False
        if not self._busy:
            return succeed(None)
        resting: Deferred[None] = Deferred()
        self._resting.append(resting)
        return resting

    def notice(self, events: Sequence[Event]) -> None:
        """Take note that events were committed (the store's listener)."""
        del events  # all unsent ones are read: other processes' too, and those of a lost notice
        if self._timer.running:
            self._tick()

    def _look(self) -> None:
        self._unjudged = True  # a crash left some, or a subscription that has some was resumed
        self._tick()

    def _tick(self) -> None:
        self._woken = True
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        while self._woken:
            self._woken = False
            await self._pass()
            if self._unjudged:
                await self._sift()
        self._busy = False
        resting, self._resting = self._resting, []
        for waiting in resting:
            waiting.callback(None)

    async def _pass(self) -> None:
        try:
            drained = await self._store.run(self.drain)
        except Exception:
            log.exception("the outbox could not be drained; trying again within %s s", self._interval)
            return
        if drained.subscriptions:
            self._queued(drained.subscriptions)
        if drained.events and self._timer.running:
            self._woken = True  # there may be more than one batch, or derived events
        self._unjudged = self._unjudged or drained.unjudged

    async def _sift(self) -> None:
        """Evaluate one subscription's filter for what waits for that; others have their turn in the next round."""
        self._unjudged = False
        try:
            turn = await self._store.read(self._sieve.look)
            if turn is None:
                return
            await self._store.run(lambda tx: self._sieve.settle(tx, turn))
        except Exception:
            log.exception("filters could not be evaluated; trying again within %s s", self._interval)
            return
        if turn.slow:
            log.warning("subscription %s paused: %s", turn.subscription_id, UNTOLD)
        self._queued([turn.subscription_id])
        self._unjudged = True
        self._woken = self._woken or self._timer.running

    def drain(self, tx: NotificationTx) -> Drained:
        """Hand one batch on; the transaction."""
        events = tx.outbox.unsent(self._batch)
        if not events:
            return Drained(0, ())
        for fold in self._folds:
            fold.derive(tx, events)  # what they derive is in the outbox, unsent: the next batch hands it on
        unjudged: set[tuple[str, int]] = set()
        pairs = self._pairs(tx, events, unjudged)
        if pairs:
            tx.deliveries.enqueue(pairs, unjudged)
        tx.outbox.mark_sent([event.id for event in events])
        return Drained(len(events), tuple(dict.fromkeys(name for name, _ in pairs)), unjudged=bool(unjudged))

    def _pairs(
        self, tx: NotificationTx, events: Sequence[Event], unjudged: set[tuple[str, int]]
    ) -> list[tuple[str, int]]:
        now = self._now()
        interested: dict[object, list[Subscription]] = {}
        producers = [key for event in events for key in _producers(event)]
        for row in tx.subscriptions.of(list(dict.fromkeys(producers))):
            if not row.is_over(now):
                interested.setdefault(row.producer, []).append(row)
        patience = Patience()
        return [
            (row.id, event.id)
            for event in events
            for key in _producers(event)
            for row in self._wanting(tx, event, interested.get(key, []), patience, unjudged)
        ]

    def _wanting(
        self,
        tx: NotificationTx,
        event: Event,
        rows: list[Subscription],
        patience: Patience,
        unjudged: set[tuple[str, int]],
    ) -> list[Subscription]:
        """Return for whom an event is queued; one whose filter cannot tell is paused, and keeps what follows."""
        chosen = [row for row in rows if wants(row, event)]
        asked = [row for row in chosen if row.pause_reason != UNTOLD]
        found = self._contents.judge(event, asked, patience, lambda: self._properties(tx, event))
        for row in [row for row in chosen if row.id in found.untold]:
            log.warning("subscription %s of %s paused: %s", row.id, row.owner, UNTOLD)
            fresh = tx.subscriptions.get(row.id)  # which may have been renewed, or removed, while it was asked
            stopped = paused(fresh or row, self._now())
            tx.subscriptions.write(stopped)
            rows[rows.index(row)] = stopped  # so that it is not asked again
        waits = found.untold | found.later | {row.id for row in chosen if row.pause_reason == UNTOLD}
        unjudged |= {(row.id, event.id) for row in chosen if row.id in waits}
        return [row for row in chosen if row.id not in found.refused]

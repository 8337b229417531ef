"""The subscription service: subscribe, renew, pause, resume, unsubscribe, and the sweep of what is over.

A subscription belongs to who made it and to the resource it is about; both must be the caller's to see, unless he wants
to be told no more. All verbs block and are called on worker threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from flyinglow.access.decision import Deny, decide
from flyinglow.access.identity import Identity
from flyinglow.access.policy import OPEN, PolicyBook
from flyinglow.nodectl.errors import InvalidError, UnknownError
from flyinglow.notification import faults
from flyinglow.notification.consumers import Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.drafting import Draft, Judge, Places
from flyinglow.notification.lifetime import Asked, Lifetimes, UnacceptableError, grant
from flyinglow.notification.model import Delivered, Subscription, host_of
from flyinglow.notification.ports import NotificationTx
from flyinglow.notification.rights import require, require_still
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.notification.views import source_of
from flyinglow.workspace.model import Event, Kind, ResourceKey
from flyinglow.workspace.ports import Now, Store

FAREWELL: Final = timedelta(minutes=1)
"""How long a subscription that is over may wait for its consumer to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSettings:
    """Limits (configuration): how long subscriptions live, and how many one owner and one consumer's host may have.

    Those whose filters are expressions to be evaluated are counted for themselves, too. What one request made is
    counted once: a Create that subscribes its maker to all that it makes is one. The delivery log of a subscription
    keeps so many entries, for so many seconds.
    """

    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    per_owner: int = 2000
    per_consumer: int = 2000
    filtered_per_owner: int = 200
    log_entries: int = 100
    log_seconds: int = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A subscription's end as granted (None: as long as its producer), and the service's time to compare it with."""

    id: str
    now: datetime
    ends_at: datetime | None


class SubscriptionService:
    """Makes, renews and ends subscriptions. ``new_id`` returns 128 random bits in hex.

    ``woken`` is told which subscriptions are to be delivered to again, on whatever thread. ``places`` are the pull
    points that messages are put into without a request.
    """

    def __init__(
        self,
        *,
        store: Store,
        consumers: Consumers,
        now: Now,
        new_id: Callable[[], str],
        contents: Contents,
        woken: Callable[[Sequence[str]], None] = lambda _: None,
        settings: SubscriptionSettings | None = None,
        places: Places | None = None,
        policies: PolicyBook = OPEN,
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id
        self._woken = woken
        self._settings = settings = settings or SubscriptionSettings()
        lives = settings.lifetimes
        self._judge = Judge(consumers=consumers, contents=contents, lifetimes=lives, places=places, policies=policies)

    def subscribe(self, caller: Identity, producer: ResourceKey, request: SubscribeRequest) -> Granted:
        """Subscribe a consumer to a resource.

        Raises UnknownError for a resource that is not the caller's, and the faults of WS-BaseNotification 4.2.
        """
        self._store.view(lambda tx: require(tx, caller, producer))  # before the consumer's name is looked up
        draft = self._judge.draft(caller, request, self._now(), endless=producer.kind is not Kind.BROKER)
        made = self._store.call(lambda tx: self.attach(tx, caller, [producer], draft))
        return Granted(id=made[producer], now=draft.made_at, ends_at=draft.ends_at)

    def draft(self, caller: Identity, request: SubscribeRequest) -> Draft:
        """Judge a request apart from what it is about; see ``drafting.Judge``."""
        return self._judge.draft(caller, request, self._now())

    def attach(
        self, tx: NotificationTx, caller: Identity, producers: Sequence[ResourceKey], draft: Draft
    ) -> dict[ResourceKey, str]:
        """Subscribe a consumer that was judged to each of these resources, and return the subscriptions' ids.

        However many resources there are, this is one towards the limits: a lease has as many as it has members.
        Raises UnknownError, or SubscribeCreationFailedFault when there would be too many.
        """
        self._judge.find_place(tx, caller, draft)
        self._leave_room(tx, caller, draft)
        rows = [self._row(caller, producer, draft) for producer in producers]
        for row in rows:
            require(tx, caller, row.producer)
            tx.subscriptions.add(row)
        return {row.producer: row.id for row in rows}

    def _leave_room(self, tx: NotificationTx, caller: Identity, draft: Draft) -> None:
        limits = self._settings
        if tx.subscriptions.count_requests(owner=caller.name) + 1 > limits.per_owner:
            raise faults.creation_failed(
                f"{caller.name} would have over {limits.per_owner} subscriptions, the most allowed"
            )
        most = limits.filtered_per_owner
        if draft.is_filtered and tx.subscriptions.count_requests(owner=caller.name, filtered=True) + 1 > most:
            message = f"{caller.name} would have over {most} subscriptions with MessageContent or ProducerProperties"
            raise faults.creation_failed(f"{message}, the most allowed")
        host = host_of(draft.request.consumer)
        if draft.pull_point_id is None and self._is_full(tx, host):
            message = f"over {limits.per_consumer} subscriptions would send to {host}, the most allowed"
            raise faults.creation_failed(message)

    def _is_full(self, tx: NotificationTx, host: str) -> bool:
        return tx.subscriptions.count_requests(consumer_host=host) + 1 > self._settings.per_consumer

    def _row(self, caller: Identity, producer: ResourceKey, draft: Draft) -> Subscription:
        request = draft.request
        return Subscription(
            id=self._new_id(),
            owner=caller.name,
            producer=producer,
            consumer=request.consumer,
            parameters=request.parameters,
            filter_xml=request.filter_xml,
            topics=request.topics,
            raw=request.raw,
            created_at=draft.made_at,
            ends_at=draft.ends_at,
            pull_point_id=draft.pull_point_id,
        )

    def renew(self, caller: Identity, subscription_id: str, end: Asked) -> Granted:
        """Give a subscription a new end. Raises UnknownError, or the fault that tells which ends are granted."""
        try:
            return self.set_end(caller, subscription_id, end)
        except UnacceptableError as error:
            raise faults.time_unacceptable(error.message, error.minimum, error.maximum) from error

    def set_end(self, caller: Identity, subscription_id: str, end: Asked) -> Granted:
        """Give a subscription a new end. Raises UnknownError, or UnacceptableError."""
        now = self._now()

        def change(tx: NotificationTx) -> Granted:
            row = self._find_still(tx, caller, subscription_id)
            ends_at = grant(end, now, self._judge.lifetimes(endless=row.producer.kind is not Kind.BROKER))
            tx.subscriptions.write(replace(row, ends_at=ends_at))
            return Granted(id=row.id, now=now, ends_at=ends_at)

        return self._store.call(change)

    def unsubscribe(self, caller: Identity, subscription_id: str) -> None:
        """End a subscription; what is not delivered yet is not delivered any more. Raises UnknownError."""

        def change(tx: NotificationTx) -> None:
            tx.subscriptions.remove([self._find(tx, caller, subscription_id).id])

        self._store.call(change)

    def pause(self, caller: Identity, subscription_id: str) -> None:
        """Send nothing to its consumer until it is resumed; what happens meanwhile is kept. Raises UnknownError."""

        def change(tx: NotificationTx) -> None:
            row = self._find(tx, caller, subscription_id)
            if row.paused_at is None:
                tx.subscriptions.write(replace(row, paused_at=self._now(), pause_reason=""))

        self._store.call(change)

    def resume(self, caller: Identity, subscription_id: str) -> None:
        """Send again, what was kept first; a consumer that failed is tried anew.

        Raises UnknownError, and ResumeFailedFault when the site no longer sends to its consumer.
        """
        self._judge.check_still(self._store.view(lambda tx: self._find_still(tx, caller, subscription_id)))

        def change(tx: NotificationTx) -> None:
            row = self._find_still(tx, caller, subscription_id)
            fresh = replace(row, failures=0, failing_since=None, retry_at=None, last_error="")
            tx.subscriptions.write(replace(fresh, paused_at=None, pause_reason=""))

        self._store.call(change)
        self._woken([subscription_id])

    def current(self, caller: Identity, producer: ResourceKey, topics: Sequence[str]) -> Event:
        """Return the last event of a resource on a topic (WS-BaseNotification 1.3, section 4.3).

        Raises UnknownError, and MultipleTopicsSpecifiedFault or NoCurrentMessageOnTopicFault.
        """
        if len(topics) != 1:
            raise faults.many_topics(topics)

        def read(tx: NotificationTx) -> Event | None:
            require(tx, caller, producer)
            if producer.kind is Kind.BROKER:
                return tx.outbox.latest_of(caller.name, source_of(topics[0]).value)
            return tx.outbox.latest(producer, source_of(topics[0]).value)

        event = self._store.view(read)
        if event is None:
            raise faults.no_current_message(topics[0])
        return event

    def get(self, caller: Identity, subscription_id: str) -> Subscription:
        """Return a subscription. Raises UnknownError."""
        return self._store.view(lambda tx: self._find(tx, caller, subscription_id))

    def look(self, caller: Identity, subscription_id: str) -> tuple[Subscription, int]:
        """Return a subscription, and how many messages wait for its consumer. Raises UnknownError."""

        def read(tx: NotificationTx) -> tuple[Subscription, int]:
            return self._find(tx, caller, subscription_id), tx.deliveries.count(subscription_id)

        return self._store.view(read)

    def log(self, caller: Identity, subscription_id: str) -> list[Delivered]:
        """Return what was delivered last, oldest first. Raises UnknownError."""

        def read(tx: NotificationTx) -> list[Delivered]:
            return tx.deliveries.log(self._find(tx, caller, subscription_id).id, self._settings.log_entries)

        return self._store.view(read)

    def redeliver(self, caller: Identity, subscription_id: str, number: int) -> int:
        """Deliver again what the log has from this number on, before all that waits; return how much that is.

        Raises UnknownError, and InvalidError for a number above all that the log has (0 is below all).
        """

        def put_back(tx: NotificationTx) -> int:
            row = self._find_still(tx, caller, subscription_id)
            newest = max((entry.number for entry in tx.deliveries.log(row.id, 1)), default=0)
            if number > newest:
                has = f"its newest entry has {newest}" if newest else "it has no entries"
                raise InvalidError(f"the delivery log has neither that number nor a higher one: {has}")
            return tx.deliveries.again(row.id, number)

        count = self._store.call(put_back)
        self._woken([subscription_id])
        return count

    def expire(self, tx: NotificationTx) -> int:
        """Remove the subscriptions that are over and return how many, and old log entries; the sweep's transaction.

        One whose consumer is to be told of that is left for the courier to tell him and remove it, for a minute.
        """
        now = self._now()
        tx.deliveries.forget(now - timedelta(seconds=self._settings.log_seconds), self._settings.log_entries)
        over = tx.subscriptions.expired(now)
        told = [row.id for row in over if row.hears_of_its_end and not row.is_over(now - FAREWELL)]
        gone = [row.id for row in over if row.id not in told]
        tx.subscriptions.remove(gone)
        self._woken(told)
        return len(gone)

    def _find(self, tx: NotificationTx, caller: Identity, subscription_id: str) -> Subscription:
        row = tx.subscriptions.get(subscription_id)
        if row is None or row.is_over(self._now()):
            raise UnknownError("there is no such subscription")
        if isinstance(decide(caller, "manage subscription", row.owner), Deny):
            raise UnknownError("there is no such subscription")
        return row

    def _find_still(self, tx: NotificationTx, caller: Identity, subscription_id: str) -> Subscription:
        row = self._find(tx, caller, subscription_id)
        require_still(tx, caller, row)
        if row.pull_point_id is None:
            self._judge.allow(caller, row.consumer)
        return row

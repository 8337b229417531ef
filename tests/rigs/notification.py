"""Notification over a real store that answers at once, with a clock moved by hand and a sender that obeys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.access.identity import Identity
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.delivery import Compose, Courier, DeliverySettings, Message
from flyinglow.notification.drainer import Drainer
from flyinglow.notification.folds import Fold
from flyinglow.notification.ledger import Ledger, Settled
from flyinglow.notification.model import Delivery, Subscription
from flyinglow.notification.service import SubscriptionService
from flyinglow.notification.slots import Slots
from flyinglow.store.store import Store
from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic
from flyinglow.wsrf.xpath.evaluator import XPath
from rigs.soap import XPATH
from rigs.store import workspace

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = TypeVar("T")
KEY = ResourceKey(Kind.WORKSPACE, "a" * 32)


def plain(subscription: Subscription, deliveries: Sequence[Delivery]) -> Message:
    """A message one can read: its parts' ids and what they tell."""
    headers = {"id": " ".join(delivery.message_id for delivery in deliveries), "for": subscription.id}
    told = ",".join(f"{delivery.event.key.id[:1]}{delivery.event.sequence}" for delivery in deliveries)
    return Message(headers=headers, body=told.encode())


@dataclass
class FakeSender:
    """Answers as told: ``answer(address, count)`` returns a status, an exception, or a Deferred for later."""

    answer: Callable[[str, int], int | Exception | Deferred[int]] = lambda address, count: 202
    posts: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=dict)
    most_under_way: dict[str, int] = field(default_factory=dict)

    def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Deferred[int]:
        return Deferred.fromCoroutine(self._post(address, headers, body))

    async def _post(self, address: str, headers: Mapping[str, str], body: bytes) -> int:
        self.posts.append((address, headers, body))
        count = self.under_way[address] = self.under_way.get(address, 0) + 1
        self.most_under_way[address] = max(count, self.most_under_way.get(address, 0))
        try:
            answer = self.answer(address, len(self.posts))
            if isinstance(answer, Deferred):
                return await answer
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way[address] -= 1

    def told(self, address: str) -> list[str]:
        """All that was posted to an address, request by request."""
        return [body.decode() for to, _, body in self.posts if to == address]


def _add(event: Event, tx: Any) -> None:
    tx.outbox.add([event])


def _lease(tx: Any) -> None:
    """Let there be what subscriptions are about, for whoever asks whether it may be read."""
    if tx.workspaces.get(KEY.id) is None:
        tx.workspaces.add([workspace(1, id=KEY.id, owner="ann")])


class World:
    """The parts of delivery put together over one store file; a second world over the same file is a restart."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self.clock: Any = clock
        self.store = Store(f"sqlite:///{file}", now=self.now, durable=False)
        self.store.migrate()
        self.sender = FakeSender()
        self.settled: list[tuple[list[int], datetime]] = []
        self._sequences: dict[ResourceKey, int] = {}

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.seconds())

    def build(
        self,
        *,
        folds: Sequence[Fold] = (),
        settings: DeliverySettings | None = None,
        slots: Slots | None = None,
        compose: Compose = plain,
        settled: Settled | None = None,
        batch: int = 500,
        xpath: XPath | None = None,
        contents: Contents | None = None,
    ) -> "World":
        self.ledger = Ledger(store=self.store, clock=self.clock, now=self.now, settled=settled or self._settled)
        self.courier = Courier(
            store=self.store, ledger=self.ledger, sender=self.sender, compose=compose, clock=self.clock,
            now=self.now, random=lambda: 0.5, slots=slots, settings=settings,
        )  # fmt: skip
        self.drainer = Drainer(
            store=self.store,
            folds=folds,
            clock=self.clock,
            now=self.now,
            queued=self.courier.wake,
            batch=batch,
            contents=contents or Contents(xpath or XPATH),
        )
        return self

    def start(self) -> "World":
        done(Deferred.fromCoroutine(self.courier.start()))
        self.drainer.start()
        self.store.listen(self.drainer.notice)
        return self

    def stop(self) -> None:
        done(self.drainer.stop())
        done(Deferred.fromCoroutine(self.courier.stop()))

    def _settled(self, tx: object, events: Sequence[Event], at: datetime) -> None:
        self.settled.append(([event.sequence for event in events], at))

    def event(self, key: ResourceKey = KEY, topic: Topic = Topic.STATE, **body: object) -> Event:
        """The resource's next event, committed by nobody yet."""
        sequence = self._sequences[key] = self._sequences.get(key, 0) + 1
        content = {"name": "vm", "state": "Running", **body}
        return Event(key=key, sequence=sequence, topic=topic, owner="ann", at=self.now(), body=content)

    def happen(self, count: int = 1, *, key: ResourceKey = KEY, topic: Topic = Topic.STATE) -> None:
        """Commit this many events, each in a transaction of its own."""
        for _ in range(count):
            event = self.event(key, topic)
            self.store.call(partial(_add, event))

    def subscribe(self, name: str = "s1", *, key: ResourceKey = KEY, topics: Sequence[str] = (), **more: object) -> str:
        """Insert a subscription and return its consumer's address."""
        values = {"consumer": f"http://{name}.test/{name}", "created_at": self.now(), "owner": "ann", **more}
        row = Subscription(id=name, producer=key, topics=tuple(topics), **values)  # type: ignore[arg-type]
        self.store.call(lambda tx: tx.subscriptions.add(row))
        return row.consumer

    def row(self, name: str = "s1") -> Subscription | None:
        found: Subscription | None = self.store.view(lambda tx: tx.subscriptions.get(name))
        return found

    def there(self, name: str = "s1") -> Subscription:
        """The row, which must be there."""
        row = self.row(name)
        assert row is not None
        return row

    def resume(self, name: str = "s1") -> None:
        """Do what the service does when a subscription is resumed."""
        service = SubscriptionService(
            store=self.store,
            consumers=Consumers(ConsumerPolicy(), lambda _host, _port: ["93.184.216.34"]),
            now=self.now,
            new_id=str,
            contents=Contents(XPATH),
            woken=self.courier.wake,
        )
        self.store.call(_lease)
        service.resume(Identity("ann"), name)

    def waiting(self, name: str = "s1") -> list[int]:
        """The sequences of what is queued for a subscription, to be sent or to be judged first."""

        def read(tx: Any) -> list[Delivery]:
            return [*tx.deliveries.head(name, 10_000), *tx.deliveries.to_judge(name, 10_000)]

        return [delivery.event.sequence for delivery in self.store.view(read)]


def done(deferred: Deferred[T]) -> T:
    """The result of a Deferred that must have one."""
    results: list[T] = []
    deferred.addCallback(results.append)
    assert results, "it is not done"
    return results[0]

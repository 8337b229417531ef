"""Pull points: what consumers behind a NAT or a firewall fetch for themselves (WS-BaseNotification 1.3, section 5).

Our own messages come into a pull point in the transaction that takes them off their subscription's line, in order and
once each, and nothing is sent over HTTP. They are numbered without gaps and kept after they were fetched, so that who
lost an answer asks for the same numbers again. A pull point holds so much and no more: its oldest messages make room,
and who asks for those is told from which number to which they are gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flyinglow.access.decision import Deny, decide
from flyinglow.access.identity import Identity
from flyinglow.access.roles import Named
from flyinglow.nodectl.errors import DeniedError, InvalidError, UnknownError
from flyinglow.notification import faults
from flyinglow.notification.model import Delivery, PullPoint, Subscription
from flyinglow.notification.ports import NotificationTx
from flyinglow.workspace.model import Event
from flyinglow.workspace.ports import Now, Store

MOST: int = 100
"""Messages of one answer."""

ANSWER: int = 512 * 1024
"""Characters of the messages of one answer, unless the first one alone has more."""

LONGEST: int = 64 * 1024
"""Characters of a message that others may put into a pull point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """Limits (configuration): pull points an owner may have, messages and characters of one, seconds of its life."""

    per_owner: int = 20
    messages: int = 1000
    size: int = 2 << 20
    lifetime: int = 24 * 3600
    longest: int = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Messages as XML, the first of which bears the number ``first``, and how many more wait after them.

    ``gap`` are the first and the last number of what was asked for and is gone.
    """

    first: int
    messages: tuple[str, ...] = ()
    waiting: int = 0
    gap: tuple[int, int] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.messages and self.gap is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for: up to ``limit`` messages that nobody fetched yet, or those numbered above ``after``."""

    limit: int = MOST
    after: int | None = None


def put(tx: NotificationTx, pull_point_id: str, bodies: Sequence[str], settings: PullSettings) -> bool:
    """Append messages and let the oldest make room; the transaction. Returns False when there is no such pull point."""
    row = tx.pull_points.get(pull_point_id)
    if row is None or not bodies:
        return row is not None
    tx.pull_points.append(row.id, row.last + 1, bodies)
    row = replace(row, last=row.last + len(bodies), size=row.size + sum(map(len, bodies)))
    while row.last - row.first + 1 > settings.messages or row.size > settings.size:
        row = _without_oldest(tx, row, settings)
    tx.pull_points.write(row)
    return True


def _without_oldest(tx: NotificationTx, row: PullPoint, settings: PullSettings) -> PullPoint:
    for number, size in tx.pull_points.sizes(row.id, MOST):
        if row.last - row.first + 1 <= settings.messages and row.size <= settings.size:
            break
        unread = number > row.fetched
        row = replace(row, first=number + 1, size=row.size - size, dropped=row.dropped + unread)
    tx.pull_points.drop(row.id, row.first)
    return row


class PullService:
    """Makes, fills, reads and ends pull points. All verbs block and are called on worker threads.

    ``new_id`` returns 128 random bits in hex; ``arrived`` is told where messages came in, or that there will be no
    more, on whatever thread. ``kept`` makes the XML that a message is kept as;
    without an event, that the subscription's time is over.
    ``base`` is the URL below which pull points have theirs. ``publishers`` are the services whose messages each takes.
    """

    def __init__(
        self,
        *,
        store: Store,
        now: Now,
        new_id: Callable[[], str],
        kept: Callable[[Subscription, Event | None], str],
        base: str,
        arrived: Callable[[Sequence[str]], None] = lambda _: None,
        settings: PullSettings | None = None,
        publishers: Named | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id
        self._kept = kept
        self._base = base.rstrip("/") + "/"
        self._arrived = arrived
        self._settings = settings or PullSettings()
        self._publishers = publishers or Named()

    def create(self, caller: Identity) -> PullPoint:
        """Make one. Raises UnableToCreatePullPointFault when the caller has as many as are allowed."""
        now = self._now()
        end = now + timedelta(seconds=self._settings.lifetime)
        row = PullPoint(id=self._new_id(), owner=caller.name, created_at=now, ends_at=end)

        def make(tx: NotificationTx) -> None:
            most = self._settings.per_owner
            if tx.pull_points.count(caller.name) >= most:
                raise faults.pull_point_refused(f"{caller.name} has {most} pull points, the most allowed")
            tx.pull_points.add(row)

        self._store.call(make)
        return row

    def get(self, caller: Identity, pull_point_id: str) -> PullPoint:
        """Return one. Raises UnknownError."""
        return self._store.view(lambda tx: self.find(tx, caller, pull_point_id))

    def fetch(self, caller: Identity, pull_point_id: str, wish: Wish) -> Fetched:
        """Return messages, and take note that they were fetched. Raises as ``look``."""
        found = self._store.view(lambda tx: self.look(tx, caller, pull_point_id, wish))
        if found.is_empty:
            return found  # who waits for news writes nothing
        return self._store.call(lambda tx: self.take(tx, caller, pull_point_id, wish))

    async def when(self, caller: Identity, pull_point_id: str, wish: Wish, rung: Awaitable[object]) -> Fetched:
        """Return messages, awaiting ``rung`` first when there are none yet; on the reactor. Raises as ``look``.

        Whoever rings was told to before it is looked for messages here: what comes in between is not missed.
        """
        found = await self._store.read(lambda tx: self.look(tx, caller, pull_point_id, wish))
        if found.is_empty:
            await rung
        return await self._store.run(lambda tx: self.take(tx, caller, pull_point_id, wish))

    def look(self, tx: NotificationTx, caller: Identity, pull_point_id: str, wish: Wish) -> Fetched:
        """Return what a wish would get, in an open transaction.

        Raises UnknownError, and UnableToGetMessagesFault for a number that no message has had.
        """
        row = self.find(tx, caller, pull_point_id)
        start = row.fetched if wish.after is None else wish.after
        if start > row.last:
            raise faults.get_messages_failed(f"no message has had the number {start}; the last is {row.last}")
        gap = (start + 1, row.first - 1) if start + 1 < row.first else None
        first = max(start + 1, row.first)
        messages = _fitting(tx.pull_points.after(row.id, first - 1, min(wish.limit, MOST)))
        return Fetched(first=first, messages=messages, waiting=row.last - first + 1 - len(messages), gap=gap)

    def take(self, tx: NotificationTx, caller: Identity, pull_point_id: str, wish: Wish) -> Fetched:
        """Do as ``look`` does, and take note of what was fetched."""
        found = self.look(tx, caller, pull_point_id, wish)
        row = self.find(tx, caller, pull_point_id)
        reached = found.first + len(found.messages) - 1
        if reached > row.fetched:
            tx.pull_points.write(replace(row, fetched=reached))
        return found

    def publish(self, caller: Identity, pull_point_id: str, bodies: Sequence[str]) -> None:
        """Put messages of another producer in.

        Raises UnknownError for all but its owner and the site's publishers, and InvalidError for too much.
        """
        if any(len(body) > LONGEST for body in bodies) or len(bodies) > MOST:
            raise InvalidError(f"at most {MOST} messages of {LONGEST} characters can be put in at a time")

        def add(tx: NotificationTx) -> None:
            named = caller in self._publishers
            row = self._living(tx, pull_point_id) if named else self.find(tx, caller, pull_point_id)
            put(tx, row.id, bodies, self._settings)

        self._store.call(add)
        self._arrived([pull_point_id])

    def put(self, tx: NotificationTx, subscription: Subscription, deliveries: Sequence[Delivery]) -> None:
        """Put a subscription's messages in, or without any that its time is over (the ledger's transaction)."""
        bodies = [self._kept(subscription, delivery.event) for delivery in deliveries]
        bodies = bodies or [self._kept(subscription, None)]
        put(tx, subscription.pull_point_id or "", bodies, self._settings)

    def destroy(self, caller: Identity, pull_point_id: str) -> None:
        """End it, its messages and the subscriptions that send to it. Raises UnknownError."""
        self._store.call(lambda tx: tx.pull_points.remove([self.find(tx, caller, pull_point_id).id]))
        self._arrived([pull_point_id])

    def set_end(self, caller: Identity, pull_point_id: str, at: datetime) -> datetime:
        """Move its end. Raises UnknownError, and DeniedError for one that is later than is granted."""
        latest = self._now() + timedelta(seconds=self._settings.longest)
        if at > latest:
            raise DeniedError(f"a pull point ends within {self._settings.longest} s; the latest end now is {latest}")

        def move(tx: NotificationTx) -> None:
            tx.pull_points.write(replace(self.find(tx, caller, pull_point_id), ends_at=at))

        self._store.call(move)
        return at

    def expire(self, tx: NotificationTx) -> int:
        """Remove those that are over and return how many; the sweep's transaction."""
        over = tx.pull_points.expired(self._now())
        tx.pull_points.remove(over)
        return len(over)

    def local(self, address: str) -> str | None:
        """Return the id of the pull point at an address; None for any other consumer."""
        found = address.removeprefix(self._base)
        return None if found == address else found

    def find(self, tx: NotificationTx, caller: Identity, pull_point_id: str) -> PullPoint:
        """Return one in an open transaction. Raises UnknownError, for one that is another's as well."""
        row = self._living(tx, pull_point_id)
        if isinstance(decide(caller, "manage pull point", row.owner), Deny):
            raise UnknownError("there is no such pull point")
        return row

    def _living(self, tx: NotificationTx, pull_point_id: str) -> PullPoint:
        row = tx.pull_points.get(pull_point_id)
        if row is None or row.ends_at <= self._now():
            raise UnknownError("there is no such pull point")
        return row


def _fitting(rows: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    taken: list[str] = []
    size = 0
    for _, body in rows:
        size += len(body)
        if taken and size > ANSWER:
            break
        taken.append(body)
    return tuple(taken)

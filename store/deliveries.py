"""Events on their way to subscriptions, one queue for each."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from sqlalchemy import bindparam, delete, func, insert, select, update

from flyinglow.notification.model import Delivered, Delivery
from flyinglow.store.batches import batches
from flyinglow.store.notification_tables import DELIVERED
from flyinglow.store.outbox import to_event
from flyinglow.store.tables import DELIVERIES, EVENTS, SUBSCRIPTIONS, UNJUDGED
from flyinglow.store.upsert import insert_once

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from flyinglow.workspace.model import Event

_C = DELIVERIES.c
_SPACE = UUID("6f0d3a0e-2b2c-5d0e-9a55-3f1d2c4b5a69")
_WAITING = select(_C.subscription_id).distinct()
_HEAD = (
    select(_C.position, _C.unjudged, EVENTS)
    .join_from(DELIVERIES, EVENTS, _C.event_id == EVENTS.c.id)
    .where(_C.subscription_id == bindparam("of_subscription"))
    .order_by(_C.position)
    .limit(bindparam("most"))
)
_ANY = _C.subscription_id.in_(bindparam("of_subscriptions", expanding=True))
_FEW = select(_C.position).where(_ANY).limit(bindparam("most"))
_HEADS = (
    select(_C.position, _C.subscription_id, _C.unjudged, EVENTS)
    .join_from(DELIVERIES, EVENTS, _C.event_id == EVENTS.c.id)
    .where(_ANY)
    .order_by(_C.position)
)
_UNJUDGED = (
    select(SUBSCRIPTIONS.c.owner, SUBSCRIPTIONS.c.id)
    .join_from(DELIVERIES, SUBSCRIPTIONS, _C.subscription_id == SUBSCRIPTIONS.c.id)
    .where(UNJUDGED, SUBSCRIPTIONS.c.paused_at.is_(None))
    .group_by(SUBSCRIPTIONS.c.owner, SUBSCRIPTIONS.c.id)
    .order_by(func.min(_C.position))
)
_TO_JUDGE = _HEAD.where(UNJUDGED)
_COUNT = select(func.count()).select_from(DELIVERIES).where(_C.subscription_id == bindparam("of_subscription"))
_L = DELIVERED.c
_THESE = _C.position.in_(bindparam("positions", expanding=True))
_NOTED = select(
    _C.position,
    _C.subscription_id,
    _C.event_id,
    bindparam("at_", type_=_L.at.type),
    bindparam("failures_", type_=_L.failures.type),
).where(_THESE)
_LOGGED = insert(DELIVERED).from_select(["position", "subscription_id", "event_id", "at", "failures"], _NOTED)
_GONE = delete(DELIVERIES).where(_THESE)
_LITTLE = 2000
_LOG = (
    select(_L.position, _L.at.label("delivered_at"), _L.failures, EVENTS)
    .join_from(DELIVERED, EVENTS, _L.event_id == EVENTS.c.id)
    .where(_L.subscription_id == bindparam("of_subscription"))
    .order_by(_L.position.desc())
    .limit(bindparam("most"))
)
_AGAIN = (_L.subscription_id == bindparam("of_subscription"), _L.position >= bindparam("from_position"))
_MANY = select(_L.subscription_id).group_by(_L.subscription_id).having(func.count() > bindparam("most"))
_LEAST_KEPT = (
    select(_L.position)
    .where(_L.subscription_id == bindparam("of_subscription"))
    .order_by(_L.position.desc())
    .offset(bindparam("most"))
    .limit(1)
)
_TRIM = delete(DELIVERED).where(
    _L.subscription_id == bindparam("of_subscription"), _L.position <= bindparam("up_to_position")
)


class Deliveries:
    """Implements ``notification.ports.Deliveries``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def enqueue(self, pairs: Sequence[tuple[str, int]], unjudged: Collection[tuple[str, int]] = ()) -> None:
        """Append (subscription id, event id) pairs in this order; a pair that is waiting already is left alone.

        Those ``unjudged`` wait for their filter as well.
        """
        rows = [{"subscription_id": pair[0], "event_id": pair[1], "unjudged": int(pair in unjudged)} for pair in pairs]
        if rows:
            self._connection.execute(insert_once(self._connection, DELIVERIES), rows)

    def waiting(self) -> list[str]:
        """Return the ids of subscriptions that have deliveries."""
        return sorted(self._connection.execute(_WAITING).scalars())

    def head(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest deliveries of one subscription, in order, up to the first that is unjudged."""
        wanted = {"of_subscription": subscription_id, "most": limit}
        rows = takewhile(lambda row: not row.unjudged, self._connection.execute(_HEAD, wanted).all())
        return [_delivery(row, subscription_id, to_event(row)) for row in rows]

    def heads(self, limits: Mapping[str, int]) -> dict[str, list[Delivery]]:
        """Return the heads of several subscriptions, of each up to its limit.

        Where little waits, it is read at once; a long queue among them is not read for its head.
        """
        found: dict[str, list[Delivery]] = {}
        for batch in batches(list(limits)):
            many = self._connection.execute(_FEW, {"of_subscriptions": batch, "most": _LITTLE + 1}).scalars().all()
            if len(many) > _LITTLE:
                found |= {name: self.head(name, limits[name]) for name in batch}
            elif many:
                self._read_all(batch, limits, found)
        return found

    def _read_all(self, names: list[str], limits: Mapping[str, int], found: dict[str, list[Delivery]]) -> None:
        events: dict[int, Event] = {}
        closed: set[str] = set()
        for row in self._connection.execute(_HEADS, {"of_subscriptions": names}):
            event = events.setdefault(row.id, events.get(row.id) or to_event(row))
            if row.unjudged:
                closed.add(row.subscription_id)
            mine = found.setdefault(row.subscription_id, [])
            if row.subscription_id not in closed and len(mine) < limits[row.subscription_id]:
                mine.append(_delivery(row, row.subscription_id, event))

    def unjudged(self) -> list[tuple[str, str]]:
        """Return (owner, id) of the subscriptions that have some and are not paused, those that wait longest first."""
        return [(row.owner, row.id) for row in self._connection.execute(_UNJUDGED)]

    def to_judge(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest unjudged of one subscription, in order."""
        wanted = {"of_subscription": subscription_id, "most": limit}
        return [_delivery(row, subscription_id, to_event(row)) for row in self._connection.execute(_TO_JUDGE, wanted)]

    def judged(self, let: Sequence[int], refused: Sequence[int]) -> None:
        """Let these go on their way, and forget those."""
        for batch in batches(let):
            self._connection.execute(update(DELIVERIES).where(_C.position.in_(batch)).values(unjudged=0))
        for batch in batches(refused):
            self._connection.execute(_GONE, {"positions": batch})

    def count(self, subscription_id: str) -> int:
        """Return how many deliveries wait for one subscription."""
        return self._connection.execute(_COUNT, {"of_subscription": subscription_id}).scalar_one()

    def done(self, positions: Sequence[int], at: datetime, failures: int) -> None:
        """Move these deliveries into their subscriptions' logs; others stay, those put back meanwhile as well."""
        for batch in batches(positions):
            wanted = {"positions": batch, "at_": at, "failures_": failures}
            self._connection.execute(_LOGGED, wanted)
            self._connection.execute(_GONE, {"positions": batch})

    def log(self, subscription_id: str, limit: int) -> list[Delivered]:
        """Return the newest entries of a subscription's log, oldest of them first."""
        wanted = {"of_subscription": subscription_id, "most": limit}
        rows = self._connection.execute(_LOG, wanted).all()
        return [
            Delivered(
                number=row.position,
                message_id=_message_id(subscription_id, row.id),
                event=to_event(row),
                at=row.delivered_at,
                failures=row.failures,
            )
            for row in reversed(rows)
        ]

    def again(self, subscription_id: str, number: int) -> int:
        """Put what was delivered from this number on back where it stood, before what waits; return how many."""
        wanted = {"of_subscription": subscription_id, "from_position": number}
        names = ["position", "subscription_id", "event_id"]
        row = select(_L.position, _L.subscription_id, _L.event_id).where(*_AGAIN)
        self._connection.execute(insert(DELIVERIES).from_select(names, row), wanted)
        return self._connection.execute(delete(DELIVERED).where(*_AGAIN), wanted).rowcount

    def forget(self, before: datetime, most: int) -> None:
        """Forget log entries older than this time, and of each subscription those beyond the newest ``most``."""
        self._connection.execute(delete(DELIVERED).where(_L.at < before))
        for name in self._connection.execute(_MANY, {"most": most}).scalars().all():
            wanted = {"of_subscription": name, "most": most}
            position = self._connection.execute(_LEAST_KEPT, wanted).scalar_one()
            self._connection.execute(_TRIM, {"of_subscription": name, "up_to_position": position})


def _delivery(row: Any, subscription_id: str, event: Event) -> Delivery:
    return Delivery(
        position=row.position,
        subscription_id=subscription_id,
        message_id=_message_id(subscription_id, event.id),
        event=event,
    )


def _message_id(subscription_id: str, event_id: int) -> str:
    """Derive the id from what is delivered to whom, so that every retry bears the same one."""
    return f"urn:uuid:{uuid5(_SPACE, f'{subscription_id}/{event_id}')}"

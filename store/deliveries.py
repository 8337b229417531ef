"""Events on their way to subscriptions, one queue for each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from sqlalchemy import bindparam, delete, func, select

from flyinglow.notification.model import Delivery
from flyinglow.store.outbox import to_event
from flyinglow.store.tables import DELIVERIES, EVENTS
from flyinglow.store.upsert import insert_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

_C = DELIVERIES.c
_SPACE = UUID("6f0d3a0e-2b2c-5d0e-9a55-3f1d2c4b5a69")
_WAITING = select(_C.subscription_id).distinct()
_HEAD = (
    select(_C.position, EVENTS)
    .join_from(DELIVERIES, EVENTS, _C.event_id == EVENTS.c.id)
    .where(_C.subscription_id == bindparam("of_subscription"))
    .order_by(_C.position)
    .limit(bindparam("most"))
)
_COUNT = select(func.count()).select_from(DELIVERIES).where(_C.subscription_id == bindparam("of_subscription"))
_DONE = delete(DELIVERIES).where(_C.subscription_id == bindparam("of_subscription"), _C.position <= bindparam("up_to"))


class Deliveries:
    """Implements ``notification.ports.DeliveryRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def enqueue(self, pairs: Sequence[tuple[str, int]]) -> None:
        """Append (subscription id, event id) pairs in this order; a pair that is waiting already is left alone."""
        rows = [{"subscription_id": subscription, "event_id": event} for subscription, event in pairs]
        if rows:
            self._connection.execute(insert_once(self._connection, DELIVERIES), rows)

    def waiting(self) -> list[str]:
        """Return the ids of subscriptions that have deliveries."""
        return sorted(self._connection.execute(_WAITING).scalars())

    def head(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest deliveries of one subscription, in order."""
        wanted = {"of_subscription": subscription_id, "most": limit}
        return [
            Delivery(
                position=row.position,
                subscription_id=subscription_id,
                message_id=_message_id(subscription_id, row.id),
                event=to_event(row),
            )
            for row in self._connection.execute(_HEAD, wanted)
        ]

    def count(self, subscription_id: str) -> int:
        """Return how many deliveries wait for one subscription."""
        return self._connection.execute(_COUNT, {"of_subscription": subscription_id}).scalar_one()

    def done(self, subscription_id: str, up_to: int) -> None:
        """Forget this subscription's deliveries up to and including this position."""
        self._connection.execute(_DONE, {"of_subscription": subscription_id, "up_to": up_to})


def _message_id(subscription_id: str, event_id: int) -> str:
    """Derive the id from what is delivered to whom, so that every retry bears the same one."""
    return f"urn:uuid:{uuid5(_SPACE, f'{subscription_id}/{event_id}')}"

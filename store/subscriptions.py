"""The rows of subscriptions."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from flyinglow.notification.model import EVALUATED, Subscription, host_of
from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.tables import SUBSCRIPTIONS
from flyinglow.store.turnstile import alone
from flyinglow.workspace.model import Kind, ResourceKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

_C = SUBSCRIPTIONS.c
_FIELDS = tuple(field.name for field in fields(Subscription) if field.name != "producer")
_GET = select(SUBSCRIPTIONS).where(_C.id == bindparam("wanted"))
_LOCK = _GET.with_for_update()
_NAMED = select(SUBSCRIPTIONS).where(_C.id.in_(bindparam("wanted", expanding=True))).order_by(_C.id)
_LOCK_NAMED = _NAMED.with_for_update()
_ADD = insert(SUBSCRIPTIONS)
_SET = update(SUBSCRIPTIONS).where(_C.id == bindparam("old_id"))
_EXPIRED = select(SUBSCRIPTIONS).where(_C.ends_at <= bindparam("before")).order_by(_C.ends_at, _C.id)


class Subscriptions:
    """Implements ``notification.ports.SubscriptionRows``. Deliveries go with their subscription (ON DELETE CASCADE).

    ``get`` locks the row in a writing transaction, so that a Renew and the record of a failure do not undo each other.
    """

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing
        self._get = _LOCK if writing else _GET
        self._named = _LOCK_NAMED if writing else _NAMED

    def add(self, row: Subscription) -> None:
        """Insert it."""
        self._connection.execute(_ADD, _to_row(row))

    def get(self, subscription_id: str) -> Subscription | None:
        """Return it or None."""
        row = self._connection.execute(self._get, {"wanted": subscription_id}).one_or_none()
        return None if row is None else _from_row(row)

    def named(self, ids: Sequence[str]) -> dict[str, Subscription]:
        """Return those of these ids that are there; locks them in a writing transaction, as ``get`` does."""
        found: dict[str, Subscription] = {}
        for batch in batches(ids):
            found |= {row.id: _from_row(row) for row in self._connection.execute(self._named, {"wanted": batch})}
        return found

    def write(self, row: Subscription) -> None:
        """Replace it; a removed one stays removed."""
        self._connection.execute(_SET, {**_to_row(row), "old_id": row.id})

    def remove(self, ids: Sequence[str]) -> None:
        """Remove subscriptions with their deliveries; unknown ids are no error."""
        for batch in batches(ids):
            self._connection.execute(delete(SUBSCRIPTIONS).where(_C.id.in_(batch)))

    def of(self, producers: Sequence[ResourceKey]) -> list[Subscription]:
        """Return every subscription to any of these resources, oldest first."""
        wanted = set(producers)
        found: list[Subscription] = []
        for batch in batches(sorted({key.id for key in producers})):
            query = select(SUBSCRIPTIONS).where(_C.producer_id.in_(batch))
            found += [_from_row(row) for row in self._connection.execute(query)]
        return sorted((row for row in found if row.producer in wanted), key=lambda row: (row.created_at, row.id))

    def expired(self, before: datetime) -> list[Subscription]:
        """Return subscriptions whose ends_at is at or before this time."""
        return [_from_row(row) for row in self._connection.execute(_EXPIRED, {"before": before})]

    def count_requests(
        self, *, owner: str | None = None, consumer_host: str | None = None, filtered: bool = False
    ) -> int:
        """Count the requests that made them, for limits: those of one owner, consumer and moment are one request's.

        Who counts in a writing transaction counts alone until it ends. ``consumer_host`` is compared without regard to
        case. ``filtered``: only those whose filter has expressions to be evaluated.
        """
        if self._writing:
            alone(self._connection, f"subscriptions of {owner} to {consumer_host and consumer_host.lower()}")
        query = select(_C.owner, _C.consumer, _C.created_at).distinct()
        if owner is not None:
            query = query.where(_C.owner == owner)
        if consumer_host is not None:
            query = query.where(_C.consumer_host == consumer_host.lower())
        if filtered:
            query = query.where(or_(*(_C.filter_xml.contains(name) for name in EVALUATED)))
        return self._connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()


def remove_of(connection: Connection, producers: Sequence[ResourceKey]) -> None:
    """Remove the subscriptions to resources that are gone for good."""
    for kind in {key.kind for key in producers}:
        for batch in batches([key.id for key in producers if key.kind is kind]):
            gone = (_C.producer_kind == kind, _C.producer_id.in_(batch))
            connection.execute(delete(SUBSCRIPTIONS).where(*gone))


def _to_row(row: Subscription) -> dict[str, Any]:
    cells = {name: getattr(row, name) for name in _FIELDS}
    cells["parameters"] = codec.dump_strings(row.parameters)
    cells["topics"] = codec.dump_strings(row.topics)
    # a pull point of ours is no host that many could be made to send to
    cells["consumer_host"] = "" if row.pull_point_id else host_of(row.consumer)
    return {**cells, "producer_kind": row.producer.kind, "producer_id": row.producer.id}


def _from_row(row: Any) -> Subscription:
    cells = {name: getattr(row, name) for name in _FIELDS}
    cells["parameters"] = codec.load_strings(row.parameters)
    cells["topics"] = codec.load_strings(row.topics)
    return Subscription(producer=ResourceKey(Kind(row.producer_kind), row.producer_id), **cells)

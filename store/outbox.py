"""Events, written in the transaction that made them happen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.notification_tables import DELIVERED
from flyinglow.store.tables import DELIVERIES, EVENTS, UNSENT
from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

_C = EVENTS.c
_ADD = insert(EVENTS)
_ADD_MANY = insert(EVENTS).returning(_C.id, sort_by_parameter_order=True)
_UNSENT = select(EVENTS).where(UNSENT).order_by(_C.id).limit(bindparam("most"))
_LATEST = (
    select(EVENTS)
    .where(_C.kind == bindparam("of_kind"), _C.resource_id == bindparam("of_id"), _C.topic == bindparam("of_topic"))
    .order_by(_C.sequence.desc())
    .limit(1)
)
_LATEST_OF = (
    select(EVENTS)
    .where(_C.owner == bindparam("of_owner"), _C.topic == bindparam("of_topic"))
    .order_by(_C.id.desc())
    .limit(1)
)
_PURGE = delete(EVENTS).where(
    _C.sent == 1,
    _C.at < bindparam("before"),
    ~select(DELIVERIES.c.position).where(DELIVERIES.c.event_id == _C.id).exists(),
    ~select(DELIVERED.c.position).where(DELIVERED.c.event_id == _C.id).exists(),
)


class Events:
    """Implements ``workspace.ports.Outbox``. ``added`` is what this transaction has added, with its ids."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.added: list[Event] = []

    def add(self, events: Sequence[Event]) -> None:
        """Insert events; the store tells its listeners after the commit."""
        if not events:
            return
        rows = [_to_row(event) for event in events]
        if len(rows) == 1:
            ids = list(self._connection.execute(_ADD, rows[0]).inserted_primary_key or ())
        else:
            ids = list(self._connection.execute(_ADD_MANY, rows).scalars())
        self.added += [replace(event, id=id_) for event, id_ in zip(events, ids, strict=True)]

    def unsent(self, limit: int) -> list[Event]:
        """Return events not handed on yet, oldest row first (never by a cursor: commits are not in id order)."""
        return [to_event(row) for row in self._connection.execute(_UNSENT, {"most": limit})]

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Mark events as handed on."""
        for batch in batches(ids):
            self._connection.execute(update(EVENTS).where(_C.id.in_(batch)).values(sent=1))

    def latest(self, key: ResourceKey, topic: str) -> Event | None:
        """Return the newest event of a resource on one topic, unless it was purged."""
        wanted = {"of_kind": key.kind, "of_id": key.id, "of_topic": topic}
        row = self._connection.execute(_LATEST, wanted).one_or_none()
        return None if row is None else to_event(row)

    def latest_of(self, owner: str, topic: str) -> Event | None:
        """Return the newest event of anything of one owner on one topic, unless it was purged."""
        row = self._connection.execute(_LATEST_OF, {"of_owner": owner, "of_topic": topic}).one_or_none()
        return None if row is None else to_event(row)

    def purge(self, before: datetime) -> int:
        """Forget events handed on and delivered before this time; return how many."""
        return self._connection.execute(_PURGE, {"before": before}).rowcount


def _to_row(event: Event) -> dict[str, Any]:
    return {
        "kind": event.key.kind,
        "resource_id": event.key.id,
        "sequence": event.sequence,
        "topic": event.topic,
        "owner": event.owner,
        "at": event.at,
        "body": codec.dump(dict(event.body)),
        "group_id": event.group_id,
        "ensemble_id": event.ensemble_id,
    }


def to_event(row: Any) -> Event:
    """Make the event from a row that has (at least) the columns of EVENTS."""
    return Event(
        key=ResourceKey(Kind(row.kind), row.resource_id),
        sequence=row.sequence,
        topic=Topic(row.topic),
        owner=row.owner,
        at=row.at,
        body=codec.load(row.body),
        group_id=row.group_id,
        ensemble_id=row.ensemble_id,
        id=row.id,
    )

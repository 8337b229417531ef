"""The rows of pull points and of the messages in them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from flyinglow.notification.model import PullPoint
from flyinglow.store.batches import batches
from flyinglow.store.notification_tables import PULL_MESSAGES, PULL_POINTS
from flyinglow.store.tables import SUBSCRIPTIONS
from flyinglow.store.turnstile import alone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

_C, _M = PULL_POINTS.c, PULL_MESSAGES.c
_FIELDS = tuple(field.name for field in fields(PullPoint))
_GET = select(PULL_POINTS).where(_C.id == bindparam("wanted"))
_LOCK = _GET.with_for_update()
_SET = update(PULL_POINTS).where(_C.id == bindparam("old_id"))
_AFTER = (
    select(_M.number, _M.body)
    .where(_M.pull_point_id == bindparam("of_point"), _M.number > bindparam("after"))
    .order_by(_M.number)
    .limit(bindparam("most"))
)
_SIZES = (
    select(_M.number, func.length(_M.body))
    .where(_M.pull_point_id == bindparam("of_point"))
    .order_by(_M.number)
    .limit(bindparam("most"))
)
_DROP = delete(PULL_MESSAGES).where(_M.pull_point_id == bindparam("of_point"), _M.number < bindparam("below"))
_COUNT = select(func.count()).select_from(PULL_POINTS).where(_C.owner == bindparam("of_owner"))


class PullPoints:
    """Implements ``notification.ports.PullPointRows``. Messages go with their pull point (ON DELETE CASCADE).

    ``get`` locks the row in a writing transaction, so that two that append do not give out one number twice.
    """

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing
        self._get = _LOCK if writing else _GET

    def add(self, row: PullPoint) -> None:
        """Insert it."""
        self._connection.execute(insert(PULL_POINTS), asdict(row))

    def get(self, pull_point_id: str) -> PullPoint | None:
        """Return it or None."""
        row = self._connection.execute(self._get, {"wanted": pull_point_id}).one_or_none()
        return None if row is None else _from_row(row)

    def write(self, row: PullPoint) -> None:
        """Replace it; a removed one stays removed."""
        self._connection.execute(_SET, {**asdict(row), "old_id": row.id})

    def remove(self, ids: Sequence[str]) -> None:
        """Remove pull points with their messages and the subscriptions that send to them."""
        for batch in batches(ids):
            self._connection.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.pull_point_id.in_(batch)))
            self._connection.execute(delete(PULL_POINTS).where(_C.id.in_(batch)))

    def count(self, owner: str) -> int:
        """Return how many an owner has; in a writing transaction nobody else counts his until it ends."""
        if self._writing:
            alone(self._connection, f"pull points of {owner}")
        return self._connection.execute(_COUNT, {"of_owner": owner}).scalar_one()

    def expired(self, before: datetime) -> list[str]:
        """Return the ids of those whose end is at or before this time."""
        return list(self._connection.execute(select(_C.id).where(_C.ends_at <= before).order_by(_C.id)).scalars())

    def append(self, pull_point_id: str, first: int, bodies: Sequence[str]) -> None:
        """Insert messages under the numbers from ``first`` on."""
        rows = [
            {"pull_point_id": pull_point_id, "number": number, "body": body}
            for number, body in enumerate(bodies, first)
        ]
        if rows:
            self._connection.execute(insert(PULL_MESSAGES), rows)

    def after(self, pull_point_id: str, number: int, limit: int) -> list[tuple[int, str]]:
        """Return the messages with numbers above this one, in order."""
        wanted = {"of_point": pull_point_id, "after": number, "most": limit}
        return [(row.number, row.body) for row in self._connection.execute(_AFTER, wanted)]

    def sizes(self, pull_point_id: str, limit: int) -> list[tuple[int, int]]:
        """Return (number, characters) of the oldest messages, in order."""
        wanted = {"of_point": pull_point_id, "most": limit}
        return [(number, size) for number, size in self._connection.execute(_SIZES, wanted)]

    def drop(self, pull_point_id: str, below: int) -> None:
        """Remove the messages with numbers below this one."""
        self._connection.execute(_DROP, {"of_point": pull_point_id, "below": below})


def _from_row(row: Any) -> PullPoint:
    return PullPoint(**{name: getattr(row, name) for name in _FIELDS})

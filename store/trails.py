"""What pilots reported, as it came."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select

from flyinglow.backend.lrm.model import Trail
from flyinglow.store import codec
from flyinglow.store.slot_tables import TRAILS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

_C = TRAILS.c
_FIELDS = tuple(field.name for field in fields(Trail))
_OF = select(*(_C[name] for name in _FIELDS)).where(_C.slot == bindparam("of_slot")).order_by(_C.position)
_ADD = insert(TRAILS)


class Trails:
    """Implements ``backend.lrm.ports.TrailRows``. They go with their slot, when its job is purged."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[Trail]) -> None:
        """Insert, in this order; a slot that is not there (any more) raises StaleError."""
        if rows:
            self._connection.execute(_ADD, [_to_row(row) for row in rows])

    def of(self, slot_id: str) -> list[Trail]:
        """Return a slot's, in the order in which they came."""
        return [_from_row(row) for row in self._connection.execute(_OF, {"of_slot": slot_id})]


def _to_row(trail: Trail) -> dict[str, Any]:
    return {**{name: getattr(trail, name) for name in _FIELDS}, "body": codec.dump_foreign(trail.body)}


def _from_row(row: Any) -> Trail:
    cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Trail(**{**cells, "body": codec.load(cells["body"])})

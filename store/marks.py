"""Small durable facts by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from flyinglow.store.slot_tables import MARKS
from flyinglow.store.upsert import upsert

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_GET = select(MARKS.c.value).where(MARKS.c.name == bindparam("wanted"))


class Marks:
    """Implements ``backend.lrm.ports.MarkRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> str | None:
        """Return it or None."""
        return self._connection.execute(_GET, {"wanted": name}).scalar_one_or_none()

    def put(self, name: str, value: str) -> None:
        """Set it, in place of what it was."""
        self._connection.execute(upsert(self._connection, MARKS), {"name": name, "value": value})

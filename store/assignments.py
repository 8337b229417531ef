"""Which member of a claim is on which slot."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from flyinglow.backend.lrm.model import Assignment
from flyinglow.store.batches import batches
from flyinglow.store.slot_tables import ASSIGNMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

_C = ASSIGNMENTS.c
_FIELDS = tuple(field.name for field in fields(Assignment))
_ALL = select(ASSIGNMENTS).order_by(_C.claim, _C.member)
_ADD = insert(ASSIGNMENTS)
_REMOVE = delete(ASSIGNMENTS).where(_C.claim == bindparam("of_claim"))


class Assignments:
    """Implements ``backend.lrm.ports.AssignmentRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[Assignment]) -> None:
        """Insert; a member that is on a slot already, or a slot that is not there (any more), raises StaleError."""
        if rows:
            self._connection.execute(_ADD, [{name: getattr(row, name) for name in _FIELDS} for row in rows])

    def select(self, *, claim: str | None = None, slots: Sequence[str] | None = None) -> list[Assignment]:
        """Return assignments by claim and member; without arguments all of them."""
        query = _ALL if claim is None else _ALL.where(_C.claim == claim)
        if slots is None:
            return self._rows(query)
        found: list[Assignment] = []
        for batch in batches(sorted(set(slots))):
            found += self._rows(query.where(_C.slot.in_(batch)))
        return sorted(found, key=attrgetter("claim", "member"))

    def remove(self, *, claim: str) -> None:
        """Forget a claim's; none is no error."""
        self._connection.execute(_REMOVE, {"of_claim": claim})

    def _rows(self, query: Select[Any]) -> list[Assignment]:
        return [Assignment(**row) for row in self._connection.execute(query).mappings()]

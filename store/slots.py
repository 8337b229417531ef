"""The rows of slots."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from flyinglow.backend.lrm.model import Slot
from flyinglow.backend.lrm.states import SLOT_OVER, SlotState
from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.slot_tables import SLOT_LIVES, SLOTS
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

_C = SLOTS.c
_FIELDS = tuple(field.name for field in fields(Slot))
_GET = select(SLOTS).where(_C.id == bindparam("wanted"))
_ALL = select(SLOTS).order_by(_C.job, _C.rank)
_ADD = insert(SLOTS)
_SET = update(SLOTS).where(_C.id == bindparam("old_id"), _C.version == bindparam("old_version"))
_OVER = _C.state.in_(sorted(SLOT_OVER))


class Slots:
    """Implements ``backend.lrm.ports.SlotRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, slots: Sequence[Slot]) -> None:
        """Insert new slots of jobs that are there already; an id that is taken raises StaleError."""
        if slots:
            self._connection.execute(_ADD, [_to_row(slot) for slot in slots])

    def get(self, slot_id: str) -> Slot | None:
        """Return the slot or None."""
        row = self._connection.execute(_GET, {"wanted": slot_id}).one_or_none()
        return None if row is None else _from_row(row)

    def select(
        self, *, job: str | None = None, ids: Sequence[str] | None = None, living: bool | None = None
    ) -> list[Slot]:
        """Return slots by job and rank; ``living`` = not over (an Unbound one lives)."""
        query = _ALL
        if job is not None:
            query = query.where(_C.job == job)
        if living is not None:
            query = query.where(SLOT_LIVES if living else _OVER)
        if ids is None:
            return [_from_row(row) for row in self._connection.execute(query)]
        found: list[Slot] = []
        for batch in batches(sorted(set(ids))):
            found += [_from_row(row) for row in self._connection.execute(query.where(_C.id.in_(batch)))]
        return sorted(found, key=attrgetter("job", "rank"))

    def write(self, old: Slot, new: Slot) -> Slot:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""
        version = old.version + 1
        changes = {name: _cell(name, new) for name in _FIELDS if getattr(new, name) != getattr(old, name)}
        keys = {"old_id": old.id, "old_version": old.version}
        if self._connection.execute(_SET, {**changes, **keys, "version": version}).rowcount != 1:
            raise StaleError(f"slot {old.id} was changed by another transaction")
        return replace(new, version=version)


def _to_row(slot: Slot) -> dict[str, Any]:
    return {"id": slot.id, **{name: _cell(name, slot) for name in _FIELDS}}


def _cell(name: str, slot: Slot) -> Any:
    return codec.dump_foreign(slot.facts) if name == "facts" else getattr(slot, name)


def _from_row(row: Any) -> Slot:
    cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    del cells["id"]
    cells["facts"] = codec.load(cells["facts"])
    cells["state"] = SlotState(cells["state"])
    return Slot(**cells)

"""The rows of groups and ensembles."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from flyinglow.store.batches import batches
from flyinglow.store.subscriptions import remove_of
from flyinglow.store.tables import COLLECTIONS
from flyinglow.workspace.model import Collection, Kind, ResourceKey
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

_C = COLLECTIONS.c
_FIELDS = tuple(field.name for field in fields(Collection) if field.name != "key")
_GET = select(COLLECTIONS).where(_C.kind == bindparam("wanted_kind"), _C.id == bindparam("wanted_id"))
_LOCK = _GET.with_for_update()
_ADD = insert(COLLECTIONS)
_SET = update(COLLECTIONS).where(
    _C.kind == bindparam("old_kind"), _C.id == bindparam("old_id"), _C.version == bindparam("old_version")
)


class Collections:
    """Implements ``workspace.ports.CollectionRows``.

    ``get`` locks the row in a writing transaction, so that joining an open ensemble and Done exclude each other.
    """

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._get = _LOCK if writing else _GET

    def add(self, rows: Sequence[Collection]) -> None:
        """Insert new rows."""
        if rows:
            self._connection.execute(_ADD, [_to_row(row) for row in rows])

    def get(self, key: ResourceKey) -> Collection | None:
        """Return the row, destroyed ones too, or None."""
        wanted = {"wanted_kind": key.kind, "wanted_id": key.id}
        row = self._connection.execute(self._get, wanted).one_or_none()
        return None if row is None else _from_row(row)

    def select(
        self,
        kind: Kind,
        *,
        owner: str | None = None,
        ensemble_id: str | None = None,
        open_until: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Collection]:
        """Return rows of one kind in id order (destroyed ones too); ``open_until``: open ones that end by then."""
        query = select(COLLECTIONS).where(_C.kind == kind).order_by(_C.id)
        if owner is not None:
            query = query.where(_C.owner == owner)
        if ensemble_id is not None:
            query = query.where(_C.ensemble_id == ensemble_id)
        if open_until is not None:
            query = query.where(_C.open, _C.ends_at <= open_until)
        if after is not None:
            query = query.where(_C.id > after)
        if limit is not None:
            query = query.limit(limit)
        return [_from_row(row) for row in self._connection.execute(query)]

    def write(self, old: Collection, new: Collection) -> Collection:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""
        version = old.version + 1
        changes = {name: getattr(new, name) for name in _FIELDS if getattr(new, name) != getattr(old, name)}
        keys = {"old_kind": old.key.kind, "old_id": old.key.id, "old_version": old.version}
        if self._connection.execute(_SET, {**changes, **keys, "version": version}).rowcount != 1:
            raise StaleError(f"{old.key.kind} {old.name} was changed by another transaction")
        return replace(new, version=version)

    def purge(self, keys: Sequence[ResourceKey]) -> None:
        """Forget rows for good, with the subscriptions to them."""
        for kind in {key.kind for key in keys}:
            for batch in batches([key.id for key in keys if key.kind is kind]):
                self._connection.execute(delete(COLLECTIONS).where(_C.kind == kind, _C.id.in_(batch)))
        remove_of(self._connection, keys)


def _to_row(collection: Collection) -> dict[str, Any]:
    row = {name: getattr(collection, name) for name in _FIELDS}
    return {**row, "kind": collection.key.kind, "id": collection.key.id}


def _from_row(row: Any) -> Collection:
    cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Collection(key=ResourceKey(Kind(cells.pop("kind")), cells.pop("id")), **cells)

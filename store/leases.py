"""What each Create handed out."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.tables import LEASES
from flyinglow.workspace.model import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

_C = LEASES.c
_FIELDS = tuple(field.name for field in fields(Lease))
_GET = select(LEASES).where(_C.id == bindparam("wanted"))
_BY_TOKEN = select(LEASES).where(_C.owner == bindparam("of_owner"), _C.token == bindparam("of_token"))
_ADD = insert(LEASES)


class Leases:
    """Implements ``workspace.ports.LeaseRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, lease: Lease) -> None:
        """Insert it; raises StaleError when another transaction just used the same (owner, token)."""
        row = {name: getattr(lease, name) for name in _FIELDS}
        self._connection.execute(_ADD, {**row, "resources": codec.dump_resources(lease.resources)})

    def by_token(self, owner: str, token: str) -> Lease | None:
        """Return the lease that this owner's token made, or None."""
        return self._one(_BY_TOKEN, {"of_owner": owner, "of_token": token})

    def get(self, lease_id: str) -> Lease | None:
        """Return the lease or None."""
        return self._one(_GET, {"wanted": lease_id})

    def purge(self, lease_ids: Sequence[str]) -> None:
        """Forget leases of which no resource is left."""
        for batch in batches(lease_ids):
            self._connection.execute(delete(LEASES).where(_C.id.in_(batch)))

    def _one(self, query: Select[Any], wanted: dict[str, str]) -> Lease | None:
        row = self._connection.execute(query, wanted).one_or_none()
        if row is None:
            return None
        cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        return Lease(**{**cells, "resources": codec.load_resources(cells["resources"])})

"""What is shared with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, or_, select

from flyinglow.access.shares import Grantee, Level, Share
from flyinglow.store.access_tables import SHARES
from flyinglow.store.batches import batches
from flyinglow.store.tables import COLLECTIONS
from flyinglow.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

_C = SHARES.c


class Shares:
    """Implements ``access.ports.ShareRows``.

    What a writing transaction reads of them stays until it ends: who revokes a share waits for those who were let in
    by it, and so sees what they wrote. To share again in another way need not wait.
    """

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing

    def put(self, share: Share) -> None:
        """Insert it, or replace what the same grantee had."""
        self._connection.execute(upsert(self._connection, SHARES), _to_row(share))

    def of(self, resource_ids: Sequence[str]) -> list[Share]:
        """Return every share of these resources, in the order of resources and grantees."""
        query = select(SHARES).where(_C.resource_id.in_(sorted(set(resource_ids))))
        return self._read(query)

    def reaching(self, resource_id: str, wholes: Sequence[str], owner: str) -> list[Share]:
        """Return the shares of a resource, and of the groups and ensembles it is in that are its ``owner``'s, too."""
        his = select(COLLECTIONS.c.id).where(COLLECTIONS.c.id.in_(sorted(wholes)), COLLECTIONS.c.owner == owner)
        query = select(SHARES).where(or_(_C.resource_id == resource_id, _C.resource_id.in_(his)))
        return self._read(query)

    def _read(self, query: Select[Any]) -> list[Share]:
        ordered = query.order_by(_C.resource_id, _C.is_group, _C.grantee)
        if self._writing:
            ordered = ordered.with_for_update(read=True, key_share=True, of=SHARES)
        return [_from_row(row) for row in self._connection.execute(ordered)]

    def remove(self, resource_id: str, grantee: Grantee) -> bool:
        """Remove one; say whether it was there."""
        mine = and_(_C.resource_id == resource_id, _C.grantee == grantee.name, _C.is_group == grantee.is_group)
        return bool(self._connection.execute(delete(SHARES).where(mine)).rowcount)

    def purge(self, resource_ids: Sequence[str]) -> None:
        """Forget all of resources that are gone for good."""
        for batch in batches(resource_ids):
            self._connection.execute(delete(SHARES).where(_C.resource_id.in_(batch)))


def _to_row(share: Share) -> dict[str, Any]:
    return {
        "resource_id": share.resource_id,
        "grantee": share.grantee.name,
        "is_group": share.grantee.is_group,
        "level": str(share.level),
        "granted_by": share.granted_by,
        "granted_at": share.granted_at,
    }


def _from_row(row: Any) -> Share:
    return Share(
        resource_id=row.resource_id,
        grantee=Grantee(row.grantee, row.is_group),
        level=Level(row.level),
        granted_by=row.granted_by,
        granted_at=row.granted_at,
    )

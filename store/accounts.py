"""What owners have and have used, for quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, update

from flyinglow.access.quotas import Held
from flyinglow.store import codec
from flyinglow.store.access_tables import ACCOUNTS, USAGE
from flyinglow.store.tables import LIVING, WORKSPACES
from flyinglow.store.upsert import insert_once
from flyinglow.workspace.model import Stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

_W = WORKSPACES.c
_POLICIES = select(ACCOUNTS.c.policies).where(ACCOUNTS.c.owner == bindparam("of_owner"))
_NAME = update(ACCOUNTS).where(ACCOUNTS.c.owner == bindparam("of_owner"))
_HELD = select(_W.cpus, _W.memory_mb, _W.duration, _W.accepted_at, _W.ends_at, _W.stamps).where(
    _W.owner == bindparam("of_owner"), LIVING
)
_SPENT = select(func.coalesce(func.sum(USAGE.c.seconds), 0)).where(
    USAGE.c.owner == bindparam("of_owner"), USAGE.c.day >= bindparam("since")
)
_SPEND = (
    update(USAGE)
    .where(USAGE.c.owner == bindparam("of_owner"), USAGE.c.day == bindparam("of_day"))
    .values(seconds=USAGE.c.seconds + bindparam("more"))
)


class Accounts:
    """Implements ``access.ports.AccountRows``."""

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing

    def enter(self, owner: str, policies: tuple[str, ...]) -> None:
        """Note by which policies an owner leases; he alone is counted until the transaction ends."""
        row = {"owner": owner, "policies": codec.dump_strings(policies)}
        self._connection.execute(insert_once(self._connection, ACCOUNTS), row)
        if self.policies(owner) != policies:
            self._connection.execute(_NAME, {"of_owner": owner, "policies": row["policies"]})

    def policies(self, owner: str) -> tuple[str, ...] | None:
        """Return by which policies an owner leased last, or None; locks his account when this transaction writes."""
        query = _POLICIES.with_for_update() if self._writing else _POLICIES
        found = self._connection.execute(query, {"of_owner": owner}).scalar_one_or_none()
        return None if found is None else tuple(codec.load_strings(found))

    def held(self, owner: str) -> list[Held]:
        """Return what an owner has that is not over."""
        return [_held(row) for row in self._connection.execute(_HELD, {"of_owner": owner})]

    def spent(self, owner: str, since: int) -> int:
        """Return the seconds that were used from this day on (days since 1970) by what is over."""
        return int(self._connection.execute(_SPENT, {"of_owner": owner, "since": since}).scalar_one())

    def spend(self, seconds: Mapping[tuple[str, int], int]) -> None:
        """Add to the seconds used, by owner and day."""
        for (owner, day), more in sorted(seconds.items()):
            row = {"owner": owner, "day": day, "seconds": 0}
            self._connection.execute(insert_once(self._connection, USAGE), row)
            self._connection.execute(_SPEND, {"of_owner": owner, "of_day": day, "more": more})

    def purge(self, before: int) -> int:
        """Forget what was used before this day; return how many rows that were."""
        return self._connection.execute(delete(USAGE).where(USAGE.c.day < before)).rowcount


def _held(row: Any) -> Held:
    begun = codec.load_stamps(row.stamps).get(str(Stamp.SCHEDULED))
    planned = row.duration if row.ends_at is None or begun is None else (row.ends_at - begun).total_seconds()
    return Held(cpus=row.cpus, memory_mb=row.memory_mb, begun_at=begun, seconds=int(planned))

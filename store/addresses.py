"""Address pools: every address of every network, free or on lease."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from flyinglow.backend.api import PoolView
from flyinglow.nodectl.errors import ExhaustedError, InvalidError
from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.tables import ADDRESSES, FREE, LEASED, POOLS
from flyinglow.store.upsert import upsert
from flyinglow.workspace.model import Nic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection

_C = ADDRESSES.c
_PLAIN = ("position", "ip", "prefix", "mac", "hostname", "gateway", "dns", "listed")
_POOLS = select(POOLS).order_by(POOLS.c.network)
_LOCK = _POOLS.with_for_update()
_FORGET_POOL = delete(POOLS).where(POOLS.c.network == bindparam("of_network"))
_TAKEN = select(_C.network, func.count()).where(LEASED, _C.listed == 1).group_by(_C.network)
_COUNTED = select(func.count()).where(LEASED, _C.listed == 1, _C.network == bindparam("of_network"))
_MOVE = update(POOLS).where(POOLS.c.network == bindparam("of_network")).values(taken=POOLS.c.taken + bindparam("more"))
_FIRST = select(_C.id).where(FREE, _C.network == bindparam("of_network")).order_by(_C.position).limit(1)
_LEASE = (
    update(ADDRESSES)
    .where(_C.id == _FIRST.scalar_subquery())
    .values(workspace_id=bindparam("for_workspace"))
    .returning(_C.ip, _C.prefix, _C.mac, _C.hostname, _C.gateway, _C.dns)
)
_STORED = select(_C.id, _C.workspace_id, *(_C[name] for name in _PLAIN)).where(_C.network == bindparam("of_network"))
_ADD = insert(ADDRESSES)
_CHANGE = update(ADDRESSES).where(_C.id == bindparam("old_id"))


class Addresses:
    """Implements ``workspace.ports.AddressRows``."""

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing
        self._pools: Sequence[Any] | None = None
        self._moved: Counter[str] = Counter()  # on lease since the pools were read, by network

    def define(self, network: str, pool: Sequence[Nic]) -> None:
        """Make the pool of a network exactly these; an address on lease stays until it is given back.

        Their order is the order of leasing. Raises InvalidError when an address stands there twice.
        """
        self._lock()
        wanted = {nic.ip: _to_row(position, nic) for position, nic in enumerate(pool)}
        if len(wanted) != len(pool):
            raise InvalidError(f"the pool of network {network} names an address twice")
        self._bring_about(network, wanted)
        if wanted:
            taken = self._connection.execute(_COUNTED, {"of_network": network}).scalar_one()
            row = {"network": network, "total": len(wanted), "taken": taken}
            self._connection.execute(upsert(self._connection, POOLS), row)
        else:
            self._connection.execute(_FORGET_POOL, {"of_network": network})
        self._pools = None
        self._moved.clear()

    def view(self) -> Mapping[str, PoolView]:
        """Return, by network, how many addresses there are and how many are free; locks as ``NodeRows.view``."""
        return {
            network: PoolView(total, total - taken - self._moved[network]) for network, total, taken in self._lock()
        }

    def lease(self, network: str, workspace_id: str, nic_name: str) -> Nic:
        """Lease the first free address; raises ExhaustedError with figures."""
        self._lock()
        wanted = {"of_network": network, "for_workspace": workspace_id}
        row = self._connection.execute(_LEASE, wanted).one_or_none()
        if row is None:
            total = self.view().get(network, PoolView(0, 0)).total
            figures = {f"network.{network}.total": total, f"network.{network}.free": 0}
            raise ExhaustedError(f"network {network} has no free address; try again when a lease has ended", figures)
        self._move(network, 1)
        return _to_nic(row, network, nic_name)

    def give_back(self, workspace_ids: Sequence[str]) -> None:
        """Give back every address of these workspaces; none on lease is no error."""
        if workspace_ids:
            self._lock()
        for batch in batches(workspace_ids):
            theirs = (LEASED, _C.workspace_id.in_(batch))
            for network, count in self._connection.execute(_TAKEN.where(_C.workspace_id.in_(batch))).all():
                self._move(network, -count)
            self._connection.execute(delete(ADDRESSES).where(*theirs, _C.listed == 0))
            self._connection.execute(update(ADDRESSES).where(*theirs).values(workspace_id=None))

    def _move(self, network: str, more: int) -> None:
        self._connection.execute(_MOVE, {"of_network": network, "more": more})
        self._moved[network] += more

    def _lock(self) -> Sequence[Any]:
        """Read all pools, once, in a fixed order: who locks them one by one may meet another coming the other way."""
        if self._pools is None:
            self._pools = self._connection.execute(_LOCK if self._writing else _POOLS).all()
        return self._pools

    def _bring_about(self, network: str, wanted: dict[str, dict[str, Any]]) -> None:
        """Change only what differs: a pool may have 65,536 addresses, and a daemon defines them at every start."""
        stored = {row.ip: row for row in self._connection.execute(_STORED, {"of_network": network})}
        changed = [
            {**row, "old_id": old.id}
            for ip, row in wanted.items()
            if (old := stored.get(ip)) is not None and any(getattr(old, name) != row[name] for name in _PLAIN)
        ]
        dropped = [row for ip, row in stored.items() if ip not in wanted]
        added = [{**row, "network": network} for ip, row in wanted.items() if ip not in stored]
        for batch in batches([row.id for row in dropped if row.workspace_id is None]):
            self._connection.execute(delete(ADDRESSES).where(_C.id.in_(batch)))
        for batch in batches([row.id for row in dropped if row.workspace_id is not None]):
            self._connection.execute(update(ADDRESSES).where(_C.id.in_(batch)).values(listed=0))
        if changed:
            self._connection.execute(_CHANGE, changed)
        if added:
            self._connection.execute(_ADD, added)


def _to_row(position: int, nic: Nic) -> dict[str, Any]:
    return {
        "position": position,
        "ip": nic.ip,
        "prefix": nic.prefix,
        "mac": nic.mac,
        "hostname": nic.hostname,
        "gateway": nic.gateway,
        "dns": codec.dump_strings(nic.dns),
        "listed": 1,
    }


def _to_nic(row: Any, network: str, name: str) -> Nic:
    return Nic(
        network=network,
        name=name,
        ip=row.ip,
        prefix=row.prefix,
        mac=row.mac,
        hostname=row.hostname,
        gateway=row.gateway,
        dns=codec.load_strings(row.dns),
    )

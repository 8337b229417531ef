"""Nodes, and what is held on them for workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select

from flyinglow.backend.api import NodePolicy, NodeState, NodeView
from flyinglow.nodectl.errors import ConflictError, UnknownError
from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.tables import HOLDS, NODES
from flyinglow.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

_ALL = select(NODES).order_by(NODES.c.name)
_LOCK = _ALL.with_for_update()
_KNOWN = select(NODES.c.name).where(NODES.c.name == bindparam("wanted"))
_REMOVE = delete(NODES).where(NODES.c.name == bindparam("wanted"))
_COUNT = select(func.count()).select_from(HOLDS).where(HOLDS.c.node == bindparam("wanted"))
_HELD = select(HOLDS.c.node, func.sum(HOLDS.c.memory_mb), func.sum(HOLDS.c.cpus), func.sum(HOLDS.c.disk_mb)).group_by(
    HOLDS.c.node
)


class Nodes:
    """Implements ``workspace.ports.NodeRows``."""

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._all = _LOCK if writing else _ALL
        self._known: set[str] = set()

    def put(self, node: NodeState) -> None:
        """Insert or replace a node."""
        self._connection.execute(upsert(self._connection, NODES), _to_row(node))

    def remove(self, name: str) -> None:
        """Remove it; raises ConflictError while anything is held on it, UnknownError when there is none."""
        held = self._connection.execute(_COUNT, {"wanted": name}).scalar_one()
        if held:
            raise ConflictError(f"node {name} holds {held} workspaces; drain it first", {"held": held})
        if not self._connection.execute(_REMOVE, {"wanted": name}).rowcount:
            raise UnknownError(f"there is no node {name}")
        self._known.discard(name)

    def all(self) -> list[NodeState]:
        """Return every node, by name."""
        return [_from_row(row) for row in self._connection.execute(_ALL)]

    def view(self) -> tuple[NodeView, ...]:
        """Return every node with what is free on it; locks the rows for the rest of a writing transaction."""
        nodes = [_from_row(row) for row in self._connection.execute(self._all)]
        self._known.update(node.name for node in nodes)
        held = {name: tuple(map(int, sums)) for name, *sums in self._connection.execute(_HELD)}
        return tuple(_view(node, *held.get(node.name, (0, 0, 0))) for node in nodes)

    def hold(self, node: str, workspace_id: str, *, memory_mb: int, cpus: int, disk_mb: int) -> None:
        """Hold capacity for a workspace, in place of what it held before; raises UnknownError for an unknown node."""
        if node not in self._known:
            if self._connection.execute(_KNOWN, {"wanted": node}).one_or_none() is None:
                raise UnknownError(f"there is no node {node}")
            self._known.add(node)
        row = {"workspace_id": workspace_id, "node": node, "memory_mb": memory_mb, "cpus": cpus, "disk_mb": disk_mb}
        self._connection.execute(upsert(self._connection, HOLDS), row)

    def free(self, workspace_ids: Sequence[str]) -> None:
        """Give back what these workspaces held; nothing held is no error."""
        for batch in batches(workspace_ids):
            self._connection.execute(delete(HOLDS).where(HOLDS.c.workspace_id.in_(batch)))


def _view(node: NodeState, memory_mb: int, cpus: int, disk_mb: int) -> NodeView:
    return NodeView(
        node=node,
        free_memory_mb=node.memory_mb - memory_mb,
        free_cpus=node.cpus - cpus,
        free_disk_mb=node.disk_mb - disk_mb,
    )


def _to_row(node: NodeState) -> dict[str, Any]:
    return {
        "name": node.name,
        "memory_mb": node.memory_mb,
        "cpus": node.cpus,
        "disk_mb": node.disk_mb,
        "networks": codec.dump(dict(node.networks)),
        "policy": node.policy,
        "reach": codec.dump(dict(node.reach)),
    }


def _from_row(row: Any) -> NodeState:
    return NodeState(
        name=row.name,
        memory_mb=row.memory_mb,
        cpus=row.cpus,
        disk_mb=row.disk_mb,
        networks=codec.load(row.networks),
        policy=NodePolicy(row.policy),
        reach=codec.load(row.reach),
    )

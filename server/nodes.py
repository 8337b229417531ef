"""The daemon's book of nodes: the rows in the store, and the live mapping that the back-end reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flyinglow.backend.api import NodeState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.server.configuration.settings import Config, Node
    from flyinglow.workspace.ports import Store, Tx


class NodeBook:
    """Keeps ``nodes`` equal to the store's rows. A node that only an administrator added outlives a restart."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.nodes: dict[str, NodeState] = {}

    def load(self, config: Config) -> None:
        """Write the configuration's nodes, keep the policy of those known before, and read all back. Blocks."""
        for node in self._store.call(lambda tx: _configured(tx, config.node)):
            self.nodes[node.name] = node

    async def put(self, node: NodeState) -> None:
        """Add or replace a node, durably."""
        await self._store.run(lambda tx: tx.nodes.put(node))
        self.nodes[node.name] = node

    async def remove(self, name: str) -> None:
        """Remove a node. Raises ConflictError while anything is held on it."""
        await self._store.run(lambda tx: tx.nodes.remove(name))
        del self.nodes[name]


def _configured(tx: Tx, wanted: Mapping[str, Node]) -> list[NodeState]:
    known = {node.name: node for node in tx.nodes.all()}
    for name, node in wanted.items():
        state = from_config(name, node)
        if name in known:
            # a drain is an administrator's word and must survive a restart
            state = replace(state, policy=known[name].policy)
        tx.nodes.put(state)
    return tx.nodes.all()


def from_config(name: str, node: Node) -> NodeState:
    """Return the node that a configuration table describes."""
    return NodeState(
        name=name,
        memory_mb=node.memory_mb,
        cpus=node.cpus,
        disk_mb=node.disk_mb,
        networks={network: bridge or None for network, bridge in node.networks.items()},
        reach={"channel": node.channel, **node.reach},
    )

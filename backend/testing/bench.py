"""What the conformance suite works with: the back-end under test, its site, and short words for what tests do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyinglow.backend.api import (
    Demand,
    NodePolicy,
    NodeView,
    Order,
    PoolView,
    Request,
    View,
)
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, encode, vm_info

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.api import Backend, NodeState
    from flyinglow.backend.testing.loop import ReactorThread


@dataclass(slots=True)
class Bench:
    """A back-end on a small site. ``seconds`` bounds every wait; ``news`` lists what the back-end reported."""

    backend: Backend
    nodes: dict[str, NodeState]
    loop: ReactorThread
    seconds: float
    news: list[tuple[str, VmInfo]] = field(default_factory=list)

    @property
    def node(self) -> str:
        """Return the first node."""
        return min(self.nodes)

    def view(self) -> View:
        """Return the site with everything free."""
        networks = {network for node in self.nodes.values() for network in node.networks}
        nodes = tuple(
            NodeView(node=node, free_memory_mb=node.memory_mb, free_cpus=node.cpus, free_disk_mb=node.disk_mb)
            for node in self.nodes.values()
            if node.policy is NodePolicy.ACTIVE
        )
        return View(nodes=nodes, pools={network: PoolView(100, 100) for network in networks})

    def request(self, *members: str, memory_mb: int | None = None) -> Request:
        """Return a request for small VMs, or for VMs of this size, that any of the nodes can carry."""
        common = set.intersection(*(set(node.networks) for node in self.nodes.values()))
        memory = memory_mb or min(node.memory_mb for node in self.nodes.values()) // 8
        demands = tuple(
            Demand(member=name, name=name, memory_mb=memory, cpus=1, disk_mb=1, networks=tuple(sorted(common)))
            for name in members
        )
        return Request(demands=demands, duration=600)

    def send(self, node: str, name: OrderName, tag: str = "", body: Mapping[str, Any] | None = None) -> Any:
        """Send an order and return its answer's body."""
        order = Order(name, tag, body or {})
        channel = self.loop.call(self.backend.channel, node)
        return self.loop.run(lambda: channel.send(order, self.seconds), self.seconds + 5)

    def info(self, node: str, name: OrderName, tag: str, body: Mapping[str, Any] | None = None) -> VmInfo:
        """Send an order that is answered with a VmInfo."""
        return vm_info(dict(self.send(node, name, tag, body)))

    def create(self, node: str, spec: VmSpec) -> VmInfo:
        """Create a VM."""
        return self.info(node, OrderName.CREATE, spec.tag, encode(spec))

    def tags(self, node: str) -> set[str]:
        """Return the tags of the VMs that the node lists."""
        return {vm_info(entry).tag for entry in self.send(node, OrderName.LIST)["vms"]}

    def run(self, work: Any) -> Any:
        """Run what waits on the reactor, within this bench's time."""
        return self.loop.run(work, self.seconds + 5)

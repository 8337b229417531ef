"""The greedy mapping of workspaces onto nodes ("workspace default", section 2.1 of the paper), as a pure function.

A node takes a VM when it has the memory, CPUs and disk left and carries every network the VM asks for; a drained node
takes nothing. All members of a request are placed, or none. The same arguments always give the same answer.

``Never`` is said when no node could hold some member even if it were empty, when the site's totals are smaller than
what is asked for, or when this mapping fails on the empty site. The last is a choice: greedy may miss a packing that
exists, but it would miss it on every other day as well, so "not now" would have the client wait for nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flyinglow.backend import refusal
from flyinglow.backend.api import Decision, Demand, Limits, NodePolicy, NodeState, Placed
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flyinglow.backend.api import NodeView, Request, View


class Placement(StrEnum):
    """Which of the nodes that have room takes the next VM."""

    PACK = "pack"  # the fullest, so that empty nodes stay empty
    SPREAD = "spread"  # the one with the fewest members of this request, so that one node's loss costs least


@dataclass(slots=True)
class Room:
    """What is left of one node while a request is mapped."""

    name: str
    networks: frozenset[str]
    memory_mb: int
    cpus: int
    disk_mb: int
    empty: bool
    members: int = 0

    def takes(self, demand: Demand) -> bool:
        """Say whether this VM fits."""
        return (
            demand.memory_mb <= self.memory_mb
            and demand.cpus <= self.cpus
            and demand.disk_mb <= self.disk_mb
            and self.networks.issuperset(demand.networks)
        )

    def put(self, demand: Demand) -> None:
        """Give the VM its share."""
        self.memory_mb -= demand.memory_mb
        self.cpus -= demand.cpus
        self.disk_mb -= demand.disk_mb
        self.empty = False
        self.members += 1


def decide(request: Request, view: View, *, placement: Placement = Placement.PACK) -> Decision:
    """Answer Placed, NotNow or Never. Raises InvalidError for a request that makes no sense on any site."""
    _check(request.demands)
    free = {network: pool.free for network, pool in view.pools.items()}
    now = _most(request.demands, [node for node in view.nodes if _active(node.node)], free, placement)
    if len(now) == len(request.demands):
        return Placed(now)
    total = {network: pool.total for network, pool in view.pools.items()}
    empty = _most(request.demands, [_emptied(node) for node in view.nodes], total, placement)
    if len(empty) < len(request.demands):
        return refusal.never(request, view, len(empty))
    return refusal.not_now(request, view, len(now))


def limits(view: View, max_members: int | None = None) -> Limits:
    """Return the most that one VM and one request can have; drained nodes count, for they may come back."""
    nodes = [node.node for node in view.nodes]
    cpus = sum(node.cpus for node in nodes)
    return Limits(
        max_memory_mb=max((node.memory_mb for node in nodes), default=0),
        max_cpus=max((node.cpus for node in nodes), default=0),
        max_disk_mb=max((node.disk_mb for node in nodes), default=0),
        max_members=cpus if max_members is None else max_members,
    )


def _check(demands: Sequence[Demand]) -> None:
    if len({demand.member for demand in demands}) != len(demands):
        raise InvalidError("two members of the request have the same id")
    for demand in demands:
        if min(demand.memory_mb, demand.cpus, demand.disk_mb) < 0:
            raise InvalidError(f"{demand.name} asks for less than nothing")


def _active(node: NodeState) -> bool:
    return node.policy is NodePolicy.ACTIVE


def _emptied(view: NodeView) -> NodeView:
    node = view.node
    return type(view)(node=node, free_memory_mb=node.memory_mb, free_cpus=node.cpus, free_disk_mb=node.disk_mb)


def _most(
    demands: Sequence[Demand], nodes: Sequence[NodeView], addresses: Mapping[str, int], placement: Placement
) -> dict[str, str]:
    """Map all that the better of two orders can: the largest first packs well, the smallest first fits more."""
    ordered = _largest_first(demands, nodes)
    mapped = _map(ordered, [_room(node) for node in nodes], addresses, placement)
    if len(mapped) == len(demands):
        return mapped
    other = _map(reversed(ordered), [_room(node) for node in nodes], addresses, placement)
    return max(mapped, other, key=len)


def _largest_first(demands: Sequence[Demand], nodes: Sequence[NodeView]) -> list[Demand]:
    """Sort by the largest share of a node that any resource takes; those that few nodes can carry come before all."""
    carriers = {
        networks: sum(set(networks) <= node.node.networks.keys() for node in nodes)
        for networks in {demand.networks for demand in demands}
    }
    memory = max((node.node.memory_mb for node in nodes), default=0) or 1
    cpus = max((node.node.cpus for node in nodes), default=0) or 1
    disk = max((node.node.disk_mb for node in nodes), default=0) or 1

    def rank(demand: Demand) -> tuple[int, float]:
        shares = (demand.memory_mb / memory, demand.cpus / cpus, demand.disk_mb / disk)
        return carriers[demand.networks], -max(shares)

    return sorted(demands, key=rank)


def _room(view: NodeView) -> Room:
    node = view.node
    free = (view.free_memory_mb, view.free_cpus, view.free_disk_mb)
    untouched = free == (node.memory_mb, node.cpus, node.disk_mb)
    return Room(node.name, frozenset(node.networks), *free, empty=untouched)


def _map(
    demands: Iterable[Demand], rooms: Sequence[Room], addresses: Mapping[str, int], placement: Placement
) -> dict[str, str]:
    """Map one member after the other, leaving out those that do not fit."""
    prefer = _fullest if placement is Placement.PACK else _fewest_members
    left = dict(addresses)
    mapped: dict[str, str] = {}
    for demand in demands:
        asked = Counter(demand.networks)
        if any(left.get(network, 0) < count for network, count in asked.items()):
            continue
        room = min((room for room in rooms if room.takes(demand)), key=prefer, default=None)
        if room is None:
            continue
        room.put(demand)
        for network, count in asked.items():
            left[network] -= count
        mapped[demand.member] = room.name
    return mapped


def _fullest(room: Room) -> tuple[bool, int, int, int, str]:
    return room.empty, room.memory_mb, room.cpus, room.disk_mb, room.name


def _fewest_members(room: Room) -> tuple[int, int, int, int, str]:
    return room.members, -room.memory_mb, -room.cpus, -room.disk_mb, room.name

"""Why a request was refused: the sentence and the figures of NotNow and Never.

Names of figures: ``members.asked``, ``would_fit``; for memory_mb, cpus and disk_mb ``.asked`` and ``.free`` (sums),
``.largest_asked`` and ``.largest_free`` (one VM, one node), or ``.largest_node`` and ``.total`` where no state of the
site would do; for a network ``addresses.NAME.asked`` with ``.free`` or ``.total``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from flyinglow.backend.api import Demand, Never, NodePolicy, NotNow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyinglow.backend.api import NodeState, NodeView, Request, View


class Resource(NamedTuple):
    """One thing that a node has and a VM asks for; ``word`` says it to a person."""

    name: str
    word: str
    asked: Callable[[Demand], int]
    free: Callable[[NodeView], int]
    total: Callable[[NodeState], int]


RESOURCES = (
    Resource("memory_mb", "MB of memory", lambda d: d.memory_mb, lambda v: v.free_memory_mb, lambda n: n.memory_mb),
    Resource("cpus", "CPUs", lambda d: d.cpus, lambda v: v.free_cpus, lambda n: n.cpus),
    Resource("disk_mb", "MB of disk", lambda d: d.disk_mb, lambda v: v.free_disk_mb, lambda n: n.disk_mb),
)


def not_now(request: Request, view: View, would_fit: int) -> NotNow:
    """Tell what is short at present."""
    demands = request.demands
    open_nodes = [node for node in view.nodes if node.node.policy is NodePolicy.ACTIVE]
    figures = {"members.asked": len(demands), "would_fit": would_fit}
    reasons = _short_addresses(demands, view, figures)
    reasons += _short_resources(demands, open_nodes, figures, only_short=True)
    if not reasons:
        _short_resources(demands, open_nodes, figures, only_short=False)
        reasons = ["what is free is scattered over the nodes, or on nodes without the networks asked for"]
    drained = len(view.nodes) - len(open_nodes)
    if drained:
        figures["nodes.drained"] = drained
        reasons.append(f"{drained} of {len(view.nodes)} nodes take nothing new for now")
    message = f"{would_fit} of {len(demands)} members would fit now: {'; '.join(reasons)}. Retry later or ask for less."
    return NotNow(message, figures)


def never(request: Request, view: View, would_fit: int) -> Never:
    """Tell which limit of the site stands in the way."""
    if not view.nodes:
        return Never("the site has no nodes", {"nodes.total": 0})
    nodes = [node.node for node in view.nodes]
    for demand in request.demands:
        refused = _too_large_for_any(demand, nodes)
        if refused is not None:
            return refused
    return (
        _beyond_pools(request.demands, view)
        or _beyond_totals(request.demands, nodes)
        or _unmappable(request, would_fit)
    )


def _short_addresses(demands: Sequence[Demand], view: View, figures: dict[str, int]) -> list[str]:
    reasons = []
    for network, asked in sorted(Counter(name for demand in demands for name in demand.networks).items()):
        pool = view.pools.get(network)
        free = pool.free if pool else 0
        if asked > free:
            figures |= {f"addresses.{network}.asked": asked, f"addresses.{network}.free": free}
            reasons.append(f"{asked} addresses on {network} asked for, {free} free")
    return reasons


def _short_resources(
    demands: Sequence[Demand], nodes: Sequence[NodeView], figures: dict[str, int], *, only_short: bool
) -> list[str]:
    reasons = []
    for resource in RESOURCES:
        asked = sum(resource.asked(demand) for demand in demands)
        largest_asked = max(resource.asked(demand) for demand in demands)
        free = sum(max(resource.free(node), 0) for node in nodes)
        largest_free = max((resource.free(node) for node in nodes), default=0)
        short = asked > free or largest_asked > largest_free
        if only_short and not short:
            continue
        figures |= {
            f"{resource.name}.asked": asked,
            f"{resource.name}.free": free,
            f"{resource.name}.largest_asked": largest_asked,
            f"{resource.name}.largest_free": largest_free,
        }
        reasons.append(f"{asked} {resource.word} asked for, {free} free, at most {largest_free} of it on one node")
    return reasons


def _too_large_for_any(demand: Demand, nodes: Sequence[NodeState]) -> Never | None:
    """Refuse a member that no node of the site could hold, were it empty."""
    carriers = [node for node in nodes if node.networks.keys() >= set(demand.networks)]
    if not carriers:
        wanted = ", ".join(demand.networks)
        figures = {f"nodes.with.{name}": sum(name in node.networks for node in nodes) for name in demand.networks}
        return Never(f"no node of this site carries what {demand.name} asks for: {wanted}", figures)
    figures = {}
    reasons = []
    for resource in RESOURCES:
        asked, largest = resource.asked(demand), max(resource.total(node) for node in carriers)
        if asked > largest:
            figures |= {f"{resource.name}.asked": asked, f"{resource.name}.largest_node": largest}
            reasons.append(f"{asked} {resource.word}, where the largest node has {largest}")
    if reasons:
        return Never(f"{demand.name} asks for {'; '.join(reasons)}", figures)
    if any(all(resource.asked(demand) <= resource.total(node) for resource in RESOURCES) for node in carriers):
        return None
    for resource in RESOURCES:
        largest = max(resource.total(node) for node in carriers)
        figures |= {f"{resource.name}.asked": resource.asked(demand), f"{resource.name}.largest_node": largest}
    return Never(f"no one node has all that {demand.name} asks for", figures)


def _beyond_pools(demands: Sequence[Demand], view: View) -> Never | None:
    for network, asked in sorted(Counter(name for demand in demands for name in demand.networks).items()):
        pool = view.pools.get(network)
        total = pool.total if pool else 0
        if asked > total:
            figures = {f"addresses.{network}.asked": asked, f"addresses.{network}.total": total}
            return Never(f"{asked} addresses on {network} are asked for, where the site has {total}", figures)
    return None


def _beyond_totals(demands: Sequence[Demand], nodes: Sequence[NodeState]) -> Never | None:
    for resource in RESOURCES:
        asked = sum(resource.asked(demand) for demand in demands)
        total = sum(resource.total(node) for node in nodes)
        if asked > total:
            figures = {f"{resource.name}.asked": asked, f"{resource.name}.total": total}
            return Never(f"{asked} {resource.word} are asked for, where the whole site has {total}", figures)
    return None


def _unmappable(request: Request, would_fit: int) -> Never:
    asked = len(request.demands)
    figures = {"members.asked": asked, "would_fit.empty_site": would_fit}
    return Never(f"even on the empty site only {would_fit} of {asked} members could be placed", figures)

"""A line of claims that wait for room on a simulated site: a batch scheduler cut down to first come first served."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from flyinglow.backend import greedy
from flyinglow.backend.api import Claim, NodeState, NodeView, Placed, PoolView, View
from flyinglow.nodectl.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Entry:
    """A claim in the line. It is served from the moment it is ``ripe``."""

    claim: Claim
    ripe: bool = False
    waiters: list[Deferred[Mapping[str, str]]] = field(default_factory=list)


class WaitingLine:
    """Grants claims in the order they came in, each ``grant_after`` seconds later (None: only by hand)."""

    def __init__(
        self, clock: Any, nodes: Mapping[str, NodeState], placement: greedy.Placement, grant_after: float | None
    ) -> None:
        self._clock = clock
        self._nodes = nodes
        self._placement = placement
        self._grant_after = grant_after
        self._waiting: dict[str, Entry] = {}
        self._held: dict[str, tuple[Claim, Mapping[str, str]]] = {}

    async def acquire(self, claim: Claim) -> Mapping[str, str]:
        """Wait until the claim is granted. Raises ConflictError when it is released while it waits."""
        if claim.nodes and claim.key not in self._held:
            self._held[claim.key] = (claim, dict(claim.nodes))
        if claim.key in self._held:
            return dict(self._held[claim.key][1])
        new = claim.key not in self._waiting
        entry = self._waiting.setdefault(claim.key, Entry(claim))
        waiter: Deferred[Mapping[str, str]] = Deferred(entry.waiters.remove)
        entry.waiters.append(waiter)
        if new and self._grant_after == 0:
            self.grant(claim.key)
        elif new and self._grant_after is not None:
            self._clock.callLater(self._grant_after, self.grant, claim.key)
        return await waiter

    def grant(self, key: str) -> None:
        """Let this claim be served as soon as there is room; an unknown key is no error."""
        if key in self._waiting:
            self._waiting[key].ripe = True
        self._serve()

    def release(self, key: str) -> None:
        """Give back what the claim holds, or take it out of the line; an unknown key is no error."""
        self._held.pop(key, None)
        entry = self._waiting.pop(key, None)
        for waiter in list(entry.waiters) if entry else ():
            waiter.errback(ConflictError("the claim was released while it waited"))
        self._serve()

    def _serve(self) -> None:
        for key, entry in [(key, entry) for key, entry in self._waiting.items() if entry.ripe]:
            decision = greedy.decide(entry.claim.request, self._view(entry.claim), placement=self._placement)
            if not isinstance(decision, Placed):
                return
            del self._waiting[key]
            self._held[key] = (entry.claim, decision.nodes)
            for waiter in list(entry.waiters):
                waiter.callback(dict(decision.nodes))

    def _view(self, claim: Claim) -> View:
        """Return what is free; addresses are not this line's business, so there are always enough."""
        asked = Counter(network for demand in claim.request.demands for network in demand.networks)
        pools = {network: PoolView(count, count) for network, count in asked.items()}
        return View(nodes=tuple(self._free(node) for node in self._nodes.values()), pools=pools)

    def _free(self, node: NodeState) -> NodeView:
        here = [
            demand
            for claim, placed in self._held.values()
            for demand in claim.request.demands
            if placed.get(demand.member) == node.name
        ]
        return NodeView(
            node=node,
            free_memory_mb=node.memory_mb - sum(demand.memory_mb for demand in here),
            free_cpus=node.cpus - sum(demand.cpus for demand in here),
            free_disk_mb=node.disk_mb - sum(demand.disk_mb for demand in here),
        )

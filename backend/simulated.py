"""The ``simulated`` back-end: the whole seam without a node, for tests, demonstrations and load measurements.

It maps greedily like ``default``, or, with ``queue = true``, answers Queued and grants later as a batch scheduler does.
Delays and failures come from the configuration table or from ``SimulatedBackend.simulation`` by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from flyinglow.backend import greedy
from flyinglow.backend.abilities import Estimate
from flyinglow.backend.api import ClaimNews, ClaimTopic, Limits, Never, Queued
from flyinglow.backend.options import Fault, OptionError, out_of_range, read, refused, wrong_types
from flyinglow.backend.simulation import Simulation
from flyinglow.backend.static import granted, observe, placed, placement
from flyinglow.backend.waiting import WaitingLine
from flyinglow.nodectl.errors import DeniedError, InvalidError, UnknownError, from_wire
from flyinglow.nodectl.messages import OrderName, VmInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flyinglow.backend.api import Claim, Decision, Grant, NodeChannel, Observation, Order, Request, Settings, View

_WHERE = "the table [backend.options]"
WAITS = "waits for its turn in the simulated queue"
TAKEN = "taken back by the simulated queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Orders that shall fail: the next ``times`` of this name, on this node and VM if named."""

    order: str
    kind: str = "transient"
    message: str = "a simulated failure"
    node: str | None = None
    tag: str | None = None
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOptions:
    """The configuration table of this back-end; times are seconds."""

    placement: str = "pack"  # or spread
    max_members: int | None = None
    delays: dict[str, float] = field(default_factory=dict)  # order -> how long it takes
    failures: tuple[Any, ...] = ()  # one table each, see Failure
    silent: tuple[str, ...] = ()  # nodes that do not answer
    ready_after: float = 0.0  # from start to ready, for VMs that have a ready mark
    list_timeout: float = 1.0  # how long reconcile waits for a node
    queue: bool = False
    grant_after: float | str = 0.0  # or "never"
    take_after: float | None = None  # when a claim's places are taken away again, counted from the grant
    take_notice: float | None = None  # how long before that it is warned of; None: without a word
    longest: float | None = None  # of a queue: for how long places can be held in all, counted from now


class SimulatedChannel:
    """A way to one simulated node."""

    def __init__(self, simulation: Simulation, node: str) -> None:
        self._simulation = simulation
        self._node = node

    async def send(self, order: Order, timeout: float) -> Mapping[str, Any]:
        """Carry out one order; see ``NodeChannel``."""
        return await self._simulation.send(self._node, order, timeout)

    def close(self) -> None:
        """Let go of the node: there is nothing to let go of."""


class SimulatedBackend:
    """Implements ``Backend`` on a ``Simulation``, which outlives it when it is handed in."""

    def __init__(self, settings: Settings, simulation: Simulation | None = None) -> None:
        options = read(SimulatedOptions, settings.options, _WHERE)
        self._reactor = settings.reactor
        self._claims = settings.claims
        self._nodes = settings.nodes
        self.options = options
        self._max_members = options.max_members
        self._placement = placement(options.placement)
        self._news = settings.news
        self._list_timeout = options.list_timeout
        self.simulation = simulation or _simulation(settings.reactor, options)
        self.simulation.listen(self._tell)
        self._line = WaitingLine(settings.reactor, self._nodes, self._placement, _grant_after(options.grant_after))
        self._queues = options.queue
        self._doomed: set[str] = set()
        self._channels: dict[str, SimulatedChannel] = {}

    def limits(self, view: View) -> Limits:
        """Return the most that can be asked for."""
        return greedy.limits(view, self._max_members)

    def admit(self, request: Request, view: View) -> Decision:
        """Map greedily, or queue what is possible at all."""
        decision = greedy.decide(request, view, placement=self._placement)
        if self._queues and not isinstance(decision, Never):
            return Queued(WAITS)
        return decision

    async def acquire(self, claim: Claim) -> Mapping[str, Grant]:
        """Return the claim's nodes; when it was queued, wait for them."""
        if self._queues:
            if not claim.nodes:
                self._waits(claim.key)
            grants = granted(await self._line.acquire(claim), self._nodes)
        else:
            grants = placed(claim, self._nodes)
        if self.options.take_after is not None and claim.key not in self._doomed:
            self._doomed.add(claim.key)
            self._reactor.callLater(self.options.take_after, self.take, claim.key, self.options.take_notice)
        return grants

    def take(
        self, key: str, notice: float | None = None, reason: str = TAKEN, places: frozenset[str] = frozenset()
    ) -> None:
        """Take a claim's places away in ``notice`` seconds, or now and without a word; the VMs are left alone."""
        topic = ClaimTopic.LOST if notice is None else ClaimTopic.ENDING
        self._claims(ClaimNews(key=key, topic=topic, reason=reason, places=places, seconds=notice))

    def _waits(self, key: str) -> None:
        after = _grant_after(self.options.grant_after)
        if after:  # why it waits is known from its admission
            self._claims(ClaimNews(key=key, topic=ClaimTopic.WAITING, reason=WAITS, starts_in=after))

    async def release(self, key: str) -> None:
        """Give back what a queued claim holds."""
        self._line.release(key)

    def grant(self, key: str) -> None:
        """Grant a queued claim by hand (``grant_after = "never"``)."""
        self._line.grant(key)

    async def reconcile(self, keys: Sequence[str]) -> Observation:
        """List every node's VMs."""
        return await observe(list(self._nodes), self.channel, self._list_timeout)

    def channel(self, node: str) -> NodeChannel:
        """Return the kept channel to a node."""
        if node not in self._nodes:
            self._channels.pop(node, None)
            raise UnknownError(f"this site has no node {node}")
        return self._channels.setdefault(node, SimulatedChannel(self.simulation, node))

    async def close(self) -> None:
        """Listen to no more news; nodes and VMs are left as they are."""
        self.simulation.unlisten(self._tell)

    def _tell(self, node: str, info: VmInfo) -> None:
        if node in self._nodes:
            self._news(node, info)


class SimulatedQueue(SimulatedBackend):
    """One that can say when a request might start, and holds places for a limited time: ``Estimates``, ``Extends``."""

    async def rehearse(self, request: Request) -> Estimate:
        """Say that a request starts ``grant_after`` seconds from now."""
        after = _grant_after(self.options.grant_after)
        return Estimate(starts_in=after, reason="" if after == 0 else WAITS)

    async def extend(self, key: str, seconds: float) -> float:
        """Hold the places for so long, up to the option ``longest``. Raises DeniedError beyond it."""
        longest = self.options.longest
        if longest is not None and seconds > longest:
            raise DeniedError(f"the simulated queue holds places for {longest:g} s at most", {"longest": int(longest)})
        return seconds


def create(settings: Settings) -> SimulatedBackend:
    """Make the back-end; the entry point ``simulated``. Raises InvalidError for options it does not know."""
    backend = SimulatedBackend if not settings.options.get("queue") else SimulatedQueue
    return backend(settings)


def check(options: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with these options."""
    faults = wrong_types(SimulatedOptions, options, _WHERE)
    if faults:
        return faults
    made = read(SimulatedOptions, options, _WHERE)
    faults += [*refused(lambda: placement(made.placement)), *refused(lambda: _grant_after(made.grant_after))]
    for order in made.delays:
        faults += refused(partial(_order, order), "delays", order)
    for failure in made.failures:
        faults += refused(partial(_failure, failure), "failures")
    times = ("ready_after", "list_timeout", "take_after", "take_notice", "longest")
    return [*faults, *out_of_range(made, 0, *times), *out_of_range(made, 1, "max_members")]


def _failure(mapping: Any) -> Failure:
    failure = read(Failure, mapping, f"an entry of 'failures' in {_WHERE}")
    _order(failure.order)
    return failure


def _grant_after(value: float | str) -> float | None:
    if value == "never":
        return None
    if isinstance(value, str):
        raise OptionError(f"'grant_after' of {_WHERE} must be seconds or \"never\", not {value!r}", "grant_after")
    return value


def _simulation(clock: Any, options: SimulatedOptions) -> Simulation:
    simulation = Simulation(clock, options.ready_after)
    for order, seconds in options.delays.items():
        simulation.delay(_order(order), float(seconds))
    for mapping in options.failures:
        failure = _failure(mapping)
        error = from_wire(failure.kind, failure.message)
        simulation.fail_next(_order(failure.order), error, node=failure.node, tag=failure.tag, times=failure.times)
    for node in options.silent:
        simulation.silence(node)
    return simulation


def _order(word: str) -> str:
    if word not in {order.value for order in OrderName}:
        raise InvalidError(f"{_WHERE} names the unknown order {word!r}")
    return word

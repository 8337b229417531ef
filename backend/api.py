"""The seam to a VM manager ("workspace back-end", section 2.1 of the paper): what one must offer to be plugged in.

A back-end is made by a factory ``create(settings: Settings) -> Backend`` that stands in the entry-point group
``flyinglow.backends``. ``flyinglow.backend.testing`` has the conformance suite that it has to pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from flyinglow.nodectl.messages import OrderName, VmInfo


class NodePolicy(StrEnum):
    """Whether a node takes new workspaces."""

    ACTIVE = "active"
    DRAIN = "drain"  # keeps what it has, takes nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node as the site describes it. ``reach`` says how to talk to it (see ``backend/channel``)."""

    name: str
    memory_mb: int
    cpus: int
    disk_mb: int
    networks: Mapping[str, str | None] = field(default_factory=dict)  # network -> bridge (None: user-mode network)
    policy: NodePolicy = NodePolicy.ACTIVE
    reach: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node and what is free on it now."""

    node: NodeState
    free_memory_mb: int
    free_cpus: int
    free_disk_mb: int


@dataclass(frozen=True, slots=True)
class PoolView:
    """The addresses of one network."""

    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one VM needs of a node. ``member`` is the workspace's id; ``name`` is for messages."""

    member: str
    name: str
    memory_mb: int
    cpus: int
    disk_mb: int
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All the VMs that must be granted together, or not at all. Times are seconds."""

    demands: tuple[Demand, ...]
    duration: int
    start_within: int | None = None
    preemptable: bool = False  # may be ended early for others, and may use what is left over


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a decision may look at."""

    nodes: tuple[NodeView, ...] = ()
    pools: Mapping[str, PoolView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """Granted now; member -> node."""

    nodes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Queued:
    """Accepted; nodes will be known later."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """Could be granted at another time. ``figures``: what is short, and ``would_fit``, how many members fit now."""

    message: str
    figures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Never:
    """No state of this site can grant it."""

    message: str
    figures: Mapping[str, int] = field(default_factory=dict)


Decision = Placed | Queued | NotNow | Never


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most one workspace or one request can have; None: no limit beyond the nodes'."""

    max_memory_mb: int
    max_cpus: int
    max_disk_mb: int
    max_members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that was admitted. ``key`` makes ``acquire`` idempotent; ``nodes`` is empty when it was Queued."""

    key: str
    request: Request
    nodes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The place where one member's VM is to run.

    ``node.name`` is what ``channel`` and ``Observation`` call it; people are shown ``node_name`` of it. ``stamps`` are
    the times at which the back-end made it ready: ``scheduled``, ``launched``, ``adapted`` of the timing receipt.
    """

    node: NodeState
    stamps: Mapping[str, datetime] = field(default_factory=dict)


def node_name(place: str) -> str:
    """Return the node's own name of a place that a back-end named ``SOMETHING@NODE``, or ``NODE``."""
    return place.rpartition("@")[2]


class ClaimTopic(StrEnum):
    """What a back-end tells unasked of a claim."""

    WAITING = "waiting"  # not started yet; why, and when it may be
    ENDING = "ending"  # its places are about to be taken away; ``seconds`` are left
    LOST = "lost"  # its places are gone


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNews:
    """Something happened to a claim. ``places`` are those concerned; empty: all of them. Times are seconds from now."""

    key: str
    topic: ClaimTopic
    reason: str
    places: frozenset[str] = frozenset()
    seconds: float | None = None  # ENDING: until the places are gone
    starts_in: float | None = None  # WAITING: the batch scheduler's own estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a reconcile pass saw. A node that did not answer is absent from ``vms`` and named in ``silent``.

    ``lost_places`` maps places that are gone for good to why; the claim may have others that are not.
    """

    vms: Mapping[str, tuple[VmInfo, ...]] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)  # node -> why
    lost: Mapping[str, str] = field(default_factory=dict)  # claim key -> why its nodes are gone
    lost_places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """One order to one node; ``body`` as ``nodectl/messages.py`` defines it for this order."""

    name: OrderName
    tag: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


class NodeChannel(Protocol):
    """A way to one node, kept open. Orders are idempotent, so a lost answer is repaired by asking again."""

    async def send(self, order: Order, timeout: float) -> Mapping[str, Any]:
        """Carry out one order and return the answer's body.

        Raises the FlyingLowError the node answered with, or TransientError when the node did not answer in
        ``timeout`` seconds or cannot be reached.
        """

    def close(self) -> None:
        """Let go of the node; VMs are left alone."""


class Backend(Protocol):
    """A VM manager. ``admit`` is pure; ``acquire`` and ``release`` are idempotent by the claim's key."""

    def limits(self, view: View) -> Limits:
        """Return the most that can be asked for (the offers of the factory)."""

    def admit(self, request: Request, view: View) -> Decision:
        """Decide on a request; pure: looks at nothing but its arguments and changes nothing."""

    async def acquire(self, claim: Claim) -> Mapping[str, Grant]:
        """Make the places of an admitted claim ready and return member -> grant; may wait for hours.

        Raises ConflictError when the claim was taken back meanwhile (its workspaces end as Cancelled), any other
        FlyingLowError when its places were refused or failed (they end as Corrupted). Either way the message is the
        reason that the client reads.
        """

    async def release(self, key: str) -> None:
        """Give back all that ``acquire`` took for this key; an unknown key is no error."""

    async def reconcile(self, keys: Sequence[str]) -> Observation:
        """Look at every node once, in parallel, and at these claims; never raises for a silent node."""

    def channel(self, node: str) -> NodeChannel:
        """Return the kept channel to a node or place. Raises UnknownError when it is not there (any more)."""

    async def close(self) -> None:
        """Close all channels; nodes and VMs are left as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a back-end's factory is given.

    ``nodes`` is a live mapping, kept true by the daemon while nodes are added and removed. ``options`` is the
    configuration table ``[backend]`` without ``kind``. ``news`` is called on the reactor with (node, VmInfo),
    ``claims`` with what happens to claims.
    """

    reactor: Any
    nodes: Mapping[str, NodeState]
    options: Mapping[str, Any]
    news: Callable[[str, VmInfo], None]
    claims: Callable[[ClaimNews], None] = lambda _: None
    ledger: Any = None  # durable memory: ``run(fn)`` and ``read(fn)`` as in ``backend/lrm/ports.py``
    urls: Mapping[str, str] = field(default_factory=dict)  # base URL by listener: client, node, guest
    now: Callable[[], datetime] | None = None  # the wall clock, aware UTC

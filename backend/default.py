"""The ``default`` back-end ("workspace default" of the paper): a fixed list of nodes, mapped greedily.

The nodes belong to the service alone, so there is nothing to acquire and nothing to release. What it adds to the
mapping is the kept channels to the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from flyinglow.backend import greedy
from flyinglow.backend.channel import local, ssh
from flyinglow.backend.channel.stdio import StdioChannel
from flyinglow.backend.options import Fault, out_of_range, read, refused, wrong_types
from flyinglow.backend.reach import SshReach, parse
from flyinglow.backend.static import observe, placed, placement
from flyinglow.nodectl.errors import UnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flyinglow.backend.api import (
        Claim,
        Decision,
        Grant,
        Limits,
        NodeChannel,
        NodeState,
        Observation,
        Request,
        Settings,
        View,
    )

_WHERE = "the table [backend.options]"
_PARTING = 10.0  # seconds that the agents have to end when the back-end is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultOptions:
    """The configuration table of this back-end; times are seconds."""

    placement: str = "pack"  # fill nodes one after the other, or spread over them
    max_members: int | None = None  # of one request; None: as many as the site has CPUs
    list_timeout: float = 10.0  # how long a reconcile pass waits for a node
    ssh: str = "ssh"  # the OpenSSH client


@dataclass(slots=True)
class Kept:
    """A channel and the reach it was made for."""

    reach: Mapping[str, Any]
    channel: StdioChannel


class DefaultBackend:
    """Implements ``Backend`` over ``Settings.nodes``, which may change at any time."""

    def __init__(self, settings: Settings) -> None:
        options = read(DefaultOptions, settings.options, _WHERE)
        self._settings = settings
        self._options = options
        self._placement = placement(options.placement)
        self._kept: dict[str, Kept] = {}
        self._parting: list[StdioChannel] = []

    def limits(self, view: View) -> Limits:
        """Return the most that can be asked for."""
        return greedy.limits(view, self._options.max_members)

    def admit(self, request: Request, view: View) -> Decision:
        """Map greedily; never Queued."""
        return greedy.decide(request, view, placement=self._placement)

    async def acquire(self, claim: Claim) -> Mapping[str, Grant]:
        """Return the nodes that admission gave: they are always ready."""
        return placed(claim, self._settings.nodes)

    async def release(self, key: str) -> None:
        """Give back nothing, as nothing was taken."""

    async def reconcile(self, keys: Sequence[str]) -> Observation:
        """List the VMs of every node in parallel; silent nodes are named."""
        return await observe(list(self._settings.nodes), self.channel, self._options.list_timeout)

    def channel(self, node: str) -> NodeChannel:
        """Return the kept channel; when the node's reach was changed, a new one. Raises UnknownError, InvalidError."""
        state = self._settings.nodes.get(node)
        kept = self._kept.get(node)
        if kept and (state is None or kept.reach != state.reach or kept.channel.is_closed):
            del self._kept[node]
            self._part(kept.channel)
            kept = None
        if state is None:
            raise UnknownError(f"this site has no node {node}")
        if kept is None:
            kept = self._kept[node] = Kept(dict(state.reach), self._open(state))
        return kept.channel

    async def close(self) -> None:
        """Close all channels and wait for the agents to end; VMs are left as they are."""
        for kept in self._kept.values():
            self._part(kept.channel)
        self._kept.clear()
        ends = [Deferred.fromCoroutine(channel.closed()) for channel in self._parting]
        everyone = DeferredList(ends, consumeErrors=True)
        everyone.addTimeout(_PARTING, self._settings.reactor, lambda _result, _seconds: [])
        await everyone
        self._parting.clear()

    def _open(self, node: NodeState) -> StdioChannel:
        reach = parse(node.reach, node.name)
        argv = ssh.argv(reach, self._options.ssh) if isinstance(reach, SshReach) else local.argv(reach)
        return StdioChannel(self._settings.reactor, node.name, argv, self._settings.news)

    def _part(self, channel: StdioChannel) -> None:
        channel.close()
        self._parting = [other for other in self._parting if not other.is_gone]
        self._parting.append(channel)


def create(settings: Settings) -> DefaultBackend:
    """Make the back-end; the entry point ``default``. Raises InvalidError for options it does not know."""
    return DefaultBackend(settings)


def check(options: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with these options."""
    faults = wrong_types(DefaultOptions, options, _WHERE)
    if faults:
        return faults
    made = read(DefaultOptions, options, _WHERE)
    ranges = [*out_of_range(made, 0, "list_timeout"), *out_of_range(made, 1, "max_members")]
    return [*refused(lambda: placement(made.placement)), *ranges]

"""What back-ends with a fixed list of nodes do alike: ask all nodes at once, take admitted claims as placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredList

from flyinglow.backend.api import Grant, Observation, Order
from flyinglow.backend.greedy import Placement
from flyinglow.backend.options import OptionError
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError
from flyinglow.nodectl.messages import OrderName, VmInfo, vm_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flyinglow.backend.api import Claim, NodeChannel, NodeState

_PLACEMENT = "'placement' of the table [backend.options]"


async def observe(nodes: Iterable[str], channel: Callable[[str], NodeChannel], timeout: float) -> Observation:
    """List the VMs of all nodes in parallel; a node that fails or stays silent for ``timeout`` seconds is named."""
    vms: dict[str, tuple[VmInfo, ...]] = {}
    silent: dict[str, str] = {}

    async def look(node: str) -> None:
        try:
            vms[node] = await _list(channel(node), timeout)
        except FlyingLowError as error:
            silent[node] = error.message

    looks = [Deferred.fromCoroutine(look(node)) for node in sorted(nodes)]
    await DeferredList(looks, fireOnOneErrback=True, consumeErrors=True)
    return Observation(vms=vms, silent=silent)


async def _list(channel: NodeChannel, timeout: float) -> tuple[VmInfo, ...]:
    body = await channel.send(Order(OrderName.LIST), timeout)
    try:
        return tuple(vm_info(entry) for entry in body["vms"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenError(f"its list of VMs cannot be read: {error}") from error


def placed(claim: Claim, nodes: Mapping[str, NodeState]) -> dict[str, Grant]:
    """Return the grants of a claim that was placed on ``nodes`` when it was admitted.

    Raises InvalidError when it was not placed, BrokenError for a node that the site no longer has.
    """
    missing = [demand.name for demand in claim.request.demands if demand.member not in claim.nodes]
    if missing:
        raise InvalidError(f"{missing[0]} was given no node when the request was admitted")
    return granted(claim.nodes, nodes)


def granted(places: Mapping[str, str], nodes: Mapping[str, NodeState]) -> dict[str, Grant]:
    """Return member -> grant for member -> node name. Raises BrokenError for a node that the site no longer has."""
    gone = sorted(set(places.values()) - set(nodes))
    if gone:
        raise BrokenError(f"node {gone[0]} is no longer one of this site's")
    return {member: Grant(node=nodes[name]) for member, name in places.items()}


def placement(word: str) -> Placement:
    """Read the option ``placement``. Raises OptionError."""
    try:
        return Placement(word)
    except ValueError:
        raise OptionError(f"{_PLACEMENT} must be pack or spread, not {word!r}", "placement") from None

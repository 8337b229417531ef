"""What the NICs of a VM are on this node: the names of their taps, and what may come out of each (``firewall.Port``).

A name tells whose a tap is, and its number which NIC it is. The NICs of one VM that are on one bridge share their
addresses: a guest with two on one network answers on either for both, as systems do, and pretends nothing by it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Union

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network.dnsmasq import network6_of, network_of
from flyinglow.nodectl.network.firewall import Port

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Bridged = tuple[str, NicSpec, str]
"""A NIC with its tap and its bridge."""

STATIC = "static"  # a network's addresses come to guests in their context only


def tap_name(tag: str, number: int) -> str:
    """Return the name of a NIC's tap: at most 15 characters for every tag and number that are allowed."""
    return f"fl{tag}.{number}"


def prefix_of(tag: str) -> str:
    """Return what the names of all taps of a VM begin with, and those of no other's."""
    return tap_name(tag, 0)[:-1]


def bridged(spec: VmSpec) -> Iterator[Bridged]:
    """Yield tap, NIC and bridge of every NIC that has a bridge."""
    for number, nic in enumerate(spec.nics):
        if nic.bridge is not None:
            yield tap_name(spec.tag, number), nic, nic.bridge


def ports(nics: Iterable[Bridged], servers: Mapping[str, Sequence[Address]]) -> list[Port]:
    """Return what may come out of each NIC; ``servers`` are the addresses of this node by bridge."""
    known = list(nics)
    made = []
    for tap, nic, bridge in known:
        others = [other for name, other, at in known if at == bridge and name != tap]
        more = [address for one in (nic, *others) for address in ((one.ip, one.ip6) if one is not nic else (one.ip6,))]
        answers = [] if nic.delivery == STATIC else [str(address) for address in servers.get(bridge, ())]
        made.append(Port(tap, nic.mac, nic.ip, tuple(address for address in more if address), tuple(answers)))
    return made


def bridge_addresses(ip: str, bridge: str) -> list[Address]:
    """Return the addresses of a bridge. Raises BrokenError when there is no such bridge."""
    try:
        text = tools.run([ip, "-json", "-details", "address", "show", "dev", bridge])
    except BrokenError as error:
        raise BrokenError(f"there is no bridge {bridge} on this node ({error.message})") from error
    found = json.loads(text)[0]
    if found.get("linkinfo", {}).get("info_kind") != "bridge":
        raise BrokenError(f"{bridge} is not a bridge")
    return [ipaddress.ip_address(item["local"]) for item in found["addr_info"] if item["family"] in ("inet", "inet6")]


def check_bridge(nic: NicSpec, bridge: str, addresses: Sequence[Address]) -> None:
    """Raise BrokenError when a bridge with these addresses cannot serve a NIC by DHCP, which it is to."""
    if nic.delivery == STATIC:
        return
    wanted = [network for network in (network_of(nic), network6_of(nic)) if network is not None]
    for network in wanted:
        if not any(address in network for address in addresses):
            raise BrokenError(
                f"bridge {bridge} has no address in {network}, from which guests could be given theirs: "
                f"give it one that no pool contains"
            )

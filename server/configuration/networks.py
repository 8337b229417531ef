"""What is wrong with the networks of a configuration: addresses outside their network, or that two would share."""

from __future__ import annotations

import ipaddress
import re
from itertools import combinations
from typing import TYPE_CHECKING

from flyinglow.factory.addressing import address6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.server.configuration.settings import Config, Network

    Fault = tuple[tuple[str, ...], str]
    AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# an even first byte: odd ones are multicast
_MAC_PREFIX = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){2}", re.IGNORECASE)
DELIVERIES = ("dhcp", "static")
HIGHEST_VLAN = 4094
_HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


def faults(config: Config) -> Iterator[Fault]:
    """Yield each fault with the path of its key."""
    for name, network in config.network.items():
        try:
            net = ipaddress.ip_network(network.cidr)
            first, last = addresses_of(network.range)
        except ValueError as error:
            yield ("network", name, "cidr"), str(error)
            continue
        if first not in net or last not in net or last < first:  # type: ignore[operator]
            yield ("network", name, "range"), f"{network.range} is not a range inside {network.cidr}"
        yield from _network_facts(("network", name), network, net)
        yield from _ipv6(("network", name), network, net)
        yield from _wires(("network", name), network)
    yield from _macs(config)
    yield from _shared(config)


def _macs(config: Config) -> Iterator[Fault]:
    """Yield the networks that would give a MAC of an earlier one to another VM, which a node refuses."""
    seen: dict[str, tuple[str, int, int]] = {}
    for name, network in config.network.items():
        try:
            first, last = (int(address) for address in addresses_of(network.range))
        except ValueError:
            continue
        low, high = (first & 0xFFFFFF, last & 0xFFFFFF) if first >> 24 == last >> 24 else (0, 0xFFFFFF)
        prefix = network.mac_prefix.lower()
        for other, (its, least, most) in seen.items():
            if its == prefix and low <= most and least <= high:
                yield ("network", name, "mac_prefix"), f"its MAC addresses would be those of network {other}"
        seen[name] = (prefix, low, high)


def _network_facts(path: tuple[str, ...], network: Network, net: AnyNetwork) -> Iterator[Fault]:
    if network.gateway is not None and not _is_address(network.gateway, net):
        yield (*path, "gateway"), f"{network.gateway!r} is not an address inside {network.cidr}"
    for server in network.dns:
        if not _is_address(server):
            yield (*path, "dns"), f"{server!r} is not an IP address"
    if not _MAC_PREFIX.fullmatch(network.mac_prefix):
        yield (*path, "mac_prefix"), f"{network.mac_prefix!r} is not three bytes such as 52:54:00, the first one even"
    try:
        name = network.hostname.format(network="net", n="1")
    except (KeyError, IndexError, ValueError):
        name = ""
    if not _HOSTNAME.fullmatch(name) or "{n}" not in network.hostname:
        yield (*path, "hostname"), f"{network.hostname!r} must make host names of {{n}} and perhaps {{network}}"


def _ipv6(path: tuple[str, ...], network: Network, net: AnyNetwork) -> Iterator[Fault]:
    """Yield what is wrong with the second family of a network."""
    if network.cidr6 is None:
        for key in ("gateway6", "dns6"):
            if getattr(network, key):
                yield (*path, key), "there is no cidr6"
        return
    try:
        net6 = ipaddress.IPv6Network(network.cidr6)
        first, last = (ipaddress.IPv6Address(address6(str(ip), network.cidr6)) for ip in addresses_of(network.range))
    except ValueError as error:
        yield (*path, "cidr6"), str(error)
        return
    if net.version == net6.version:
        yield (*path, "cidr6"), f"{network.cidr} is IPv6 already"
    if network.gateway6 is not None and not _is_address(network.gateway6, net6):
        yield (*path, "gateway6"), f"{network.gateway6!r} is not an address inside {network.cidr6}"
    elif network.gateway6 is not None and first <= ipaddress.IPv6Address(network.gateway6) <= last:
        yield (*path, "gateway6"), f"{network.gateway6} would be leased: it goes with an address of {network.range}"
    for server in network.dns6:
        if not _is_address(server) or ":" not in server:
            yield (*path, "dns6"), f"{server!r} is not an IPv6 address"


def _wires(path: tuple[str, ...], network: Network) -> Iterator[Fault]:
    if network.delivery not in DELIVERIES:
        yield (*path, "delivery"), f"{network.delivery!r} is not one of {', '.join(DELIVERIES)}"
    if network.vlan is not None and not 1 <= network.vlan <= HIGHEST_VLAN:
        yield (*path, "vlan"), f"{network.vlan} is not a VLAN: they are 1 to {HIGHEST_VLAN}"


def _shared(config: Config) -> Iterator[Fault]:
    """Yield what two networks cannot both have: IPv6 addresses, or a VLAN."""
    known = list(config.network.items())
    for (one, first), (other, second) in combinations(known, 2):
        if first.vlan is not None and first.vlan == second.vlan:
            yield ("network", other, "vlan"), f"{second.vlan} is that of network {one}"
        nets = [net for net in (_network6(first), _network6(second)) if net is not None]
        if len(nets) > 1 and nets[0].overlaps(nets[1]):
            yield ("network", other, "cidr6"), f"{second.cidr6} overlaps with that of network {one}"


def _network6(network: Network) -> ipaddress.IPv6Network | None:
    try:
        return None if network.cidr6 is None else ipaddress.IPv6Network(network.cidr6)
    except ValueError:
        return None


def _is_address(text: str, net: AnyNetwork | None = None) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return net is None or address in net


def addresses_of(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """Split ``first-last`` into two addresses. Raises ValueError."""
    first, dash, last = text.partition("-")
    if not dash:
        message = f"{text!r} is not FIRST-LAST"
        raise ValueError(message)
    return ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())

"""What dnsmasq is told, word by word: one configuration a bridge, one line a NIC.

A NIC with an IPv6 address gets it by DHCPv6, by the same MAC. That tells no routes, so dnsmasq advertises the network
as being on the wire, its addresses by DHCPv6 only (RFC 4861, section 4.2: managed), and itself as a router where this
node is the gateway.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyinglow.nodectl.messages import NicSpec

LEASE_TIME = "12h"


def network_of(nic: NicSpec) -> ipaddress.IPv4Network:
    """Return the network a NIC's address lies in."""
    return ipaddress.IPv4Interface(f"{nic.ip}/{nic.prefix}").network


def network6_of(nic: NicSpec) -> ipaddress.IPv6Network | None:
    """Return the network a NIC's IPv6 address lies in, where it has one."""
    return None if nic.ip6 is None else ipaddress.IPv6Interface(f"{nic.ip6}/{nic.prefix6}").network


@dataclass(frozen=True, order=True)
class Served:
    """What all NICs of one network are told alike; ``routes``: whether this node is its IPv6 gateway."""

    network: str
    gateway: str | None
    dns: tuple[str, ...]
    network6: str | None = None
    dns6: tuple[str, ...] = ()
    routes: bool = False

    @property
    def label(self) -> str:
        """The tag that dnsmasq knows these options by."""
        words = f"Served(network={self.network!r}, gateway={self.gateway!r}, dns={self.dns!r})"
        words += f" {self.network6} {self.dns6}" if self.network6 is not None else ""
        return "n" + hashlib.sha256(words.encode()).hexdigest()[:8]


def served(nic: NicSpec, addresses: Collection[object] = ()) -> Served:
    """Return what a NIC is told besides its own addresses and name, by a bridge that has these addresses."""
    network6 = network6_of(nic)
    return Served(
        str(network_of(nic)),
        nic.gateway,
        tuple(nic.dns),
        None if network6 is None else str(network6),
        tuple(nic.dns6),
        nic.gateway6 is not None and ipaddress.IPv6Address(nic.gateway6) in addresses,
    )


def read_served(item: dict[str, Any]) -> Served:
    """Return what ``dataclasses.asdict`` made of it, or an earlier version's did."""
    return Served(**{**item, "dns": tuple(item["dns"]), "dns6": tuple(item.get("dns6", ()))})


def host_line(nic: NicSpec, hostname: str) -> str:
    """Return dnsmasq's line for one NIC."""
    address6 = f"[{nic.ip6}]," if nic.ip6 is not None else ""
    return f"{nic.mac.lower()},set:{served(nic).label},{address6}{nic.ip},{hostname}\n"


def network_lines(known: Served) -> list[str]:
    """Return dnsmasq's lines for one network: a router or name servers only where it has them."""
    network = ipaddress.IPv4Network(known.network)
    lines = [f"dhcp-range={network.network_address},static,{network.netmask},{LEASE_TIME}"]
    if known.gateway is not None:
        lines.append(f"dhcp-option=tag:{known.label},option:router,{known.gateway}")
    if known.dns:
        lines.append(f"dhcp-option=tag:{known.label},option:dns-server,{','.join(known.dns)}")
    if known.network6 is not None:
        network6 = ipaddress.IPv6Network(known.network6)
        lines.append(f"dhcp-range={network6.network_address},static,{network6.prefixlen},{LEASE_TIME}")
    if known.dns6:
        servers = ",".join(f"[{address}]" for address in known.dns6)
        lines.append(f"dhcp-option=tag:{known.label},option6:dns-server,{servers}")
    return lines


def advertisement(bridge: str, networks: Collection[Served]) -> list[str]:
    """Return dnsmasq's lines for router advertisements: of no route where this node is nobody's gateway."""
    if not any(known.network6 for known in networks):
        return []
    return ["enable-ra", f"ra-param={bridge},0" + ("" if any(known.routes for known in networks) else ",0")]


def configuration(bridge: str, folder: Path, networks: Collection[Served]) -> str:
    """Return dnsmasq's configuration for one bridge."""
    lines = [
        "port=0",
        "bind-dynamic",
        f"interface={bridge}",
        "except-interface=lo",
        "no-ping",
        "no-resolv",
        "no-hosts",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        "dhcp-leasefile=/dev/null",
        "dhcp-option=option:router",  # without a value: dnsmasq would name itself
        "dhcp-option=option:dns-server",
        f"dhcp-hostsdir={folder / 'hosts'}",
        f"pid-file={folder / 'pid'}",
        f"log-facility={folder / 'log'}",
    ]
    lines += itertools.chain.from_iterable(network_lines(known) for known in sorted(networks, key=repr))
    lines += advertisement(bridge, networks)
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))

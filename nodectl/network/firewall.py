"""Hold every guest to the addresses it was leased (section 3.3 of the paper), and count what it tried besides.

A guest may send what carries its own MAC and its own IPv4 and IPv6 addresses, ask for them by DHCP, and use IPv6 on its
own wire with the link-local address that follows from its MAC. Everything else is dropped where it enters the bridge. A
back-end keeps these promises with the means of one kernel interface; all of them pass the same tests.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "mac": "frames with another MAC address",
        "ip": "packets from another IP address, or packets within packets",
        "arp": "ARP for another address",
        "dhcp": "answers of a DHCP server",
        "nd": "IPv6 router advertisements, or neighbour discovery for another address",
        "vlan": "frames tagged for a VLAN",
        "other": "what no guest may send, and honest ones do",
    }
)
"""What is counted apart, in words for people."""

HARMLESS = frozenset({"other"})
"""What a guest's own start sends by itself, and is no attempt at anything."""

Drops = Mapping[str, int]


@dataclass(frozen=True)
class Port:
    """A VM's NIC on a bridge: the port's name, and the only addresses that may come out of it."""

    name: str
    mac: str
    ip: str
    more: tuple[str, ...] = ()  # its IPv6 address, and those of the VM's other NICs on this bridge: a guest answers
    # for them on either (RFC 1122, section 3.3.4.2)
    servers: tuple[str, ...] = ()  # addresses of this node by which its DHCP answers leave, for no other wire

    @property
    def addresses4(self) -> tuple[str, ...]:
        """The IPv4 addresses that the guest may use here."""
        return (self.ip, *(address for address in self.more if ":" not in address))

    @property
    def addresses6(self) -> tuple[ipaddress.IPv6Address, ...]:
        """The IPv6 addresses that the guest may use here: the one it has by itself, and what was leased."""
        return (self.link_local, *(ipaddress.IPv6Address(address) for address in self.more if ":" in address))

    @property
    def link_local(self) -> ipaddress.IPv6Address:
        """The IPv6 address that a NIC has by itself (RFC 4291, appendix A)."""
        octets = bytes.fromhex(self.mac.replace(":", ""))
        host = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
        return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host)


class Firewall(Protocol):
    """What guards the ports of VMs. Whoever changes something holds the node's lock for networks."""

    def admit(self, prefix: str, ports: Sequence[Port]) -> None:
        """Guard a VM's ports from now on, all at once; what was known of ports that begin with ``prefix`` goes.

        May be repeated, which keeps what was counted. Raises BrokenError when the rules cannot be made.
        """

    def forget(self, prefix: str) -> None:
        """Remove the rules of a VM's ports. May be repeated."""

    def forget_all(self) -> None:
        """Remove every rule there is."""

    def dropped(self) -> Mapping[str, Drops]:
        """Return for every guarded port what was dropped, by kind; kinds of which nothing was are left out."""

    def check(self) -> str:
        """Say what guards the VMs. Raises BrokenError naming what is missing."""


class Unguarded:
    """No rules: for sites that keep their own. Guests can pretend to be each other."""

    def admit(self, prefix: str, ports: Sequence[Port]) -> None:
        """Let everything through."""

    def forget(self, prefix: str) -> None:
        """Have nothing to remove."""

    def forget_all(self) -> None:
        """Have nothing to remove."""

    def dropped(self) -> Mapping[str, Drops]:
        """Return nothing: nothing is dropped."""
        return {}

    def check(self) -> str:
        """Say that there is no guard."""
        return "off: guests can take each other's addresses (configuration key spoofing_rules)"


def spoofed(drops: Drops) -> int:
    """Return how many of the dropped packets an honest guest would not have sent."""
    return sum(count for kind, count in drops.items() if kind not in HARMLESS)


def total(drops: Sequence[Drops]) -> dict[str, int]:
    """Add up what was dropped at several ports."""
    found: dict[str, int] = {}
    for one in drops:
        for kind, count in one.items():
            found[kind] = found.get(kind, 0) + count
    return found


def words(drops: Drops) -> str:
    """Return what was dropped as people read it: the kinds that are attempts, with their numbers."""
    return ", ".join(f"{drops[kind]} {text}" for kind, text in KINDS.items() if kind not in HARMLESS and kind in drops)

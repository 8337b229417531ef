"""The addresses of a workspace's NICs, as the pools and the site's networks give them.

A network with IPv6 needs no second pool: a NIC's IPv6 address ends in its IPv4 address, as ``fd00:1::10.1.0.10`` is
written (RFC 4291, section 2.2), so it is nobody else's as long as that one is leased, whatever became of the pool
meanwhile. A guest has one default route: that of its first NIC whose network has a gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flyinglow.workspace.model import Nic, Workspace
from flyinglow.workspace.ports import Tx

EMBEDDED_BITS = 32
PREFIX_MAX = 128 - EMBEDDED_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTerms:
    """What all NICs of a network have in common besides their pool."""

    cidr6: str | None = None
    gateway6: str | None = None
    dns6: tuple[str, ...] = ()
    delivery: str = "dhcp"
    vlan: int | None = None


def address6(ip: str, cidr6: str) -> str:
    """Return the IPv6 address that goes with an IPv4 address. Raises ValueError for a network without room for it."""
    network = ipaddress.IPv6Network(cidr6)
    if network.prefixlen > PREFIX_MAX:
        message = f"{cidr6} leaves fewer than {EMBEDDED_BITS} bits for hosts"
        raise ValueError(message)
    return str(network.network_address + int(ipaddress.IPv4Address(ip)))


def leased(tx: Tx, row: Workspace, networks: Mapping[str, NetworkTerms]) -> tuple[Nic, ...]:
    """Lease an address for every NIC of a workspace; raises ExhaustedError with figures."""
    plain = [tx.addresses.lease(nic.network, row.id, nic.name) for nic in row.nics]
    return with_one_route([complete(nic, networks.get(nic.network, NetworkTerms())) for nic in plain])


def complete(nic: Nic, terms: NetworkTerms) -> Nic:
    """Add what its network says to a NIC."""
    told = replace(nic, delivery=terms.delivery, vlan=terms.vlan)
    if terms.cidr6 is None:
        return told
    return replace(
        told,
        ip6=address6(nic.ip, terms.cidr6),
        prefix6=ipaddress.IPv6Network(terms.cidr6).prefixlen,
        gateway6=terms.gateway6,
        dns6=terms.dns6,
    )


def with_one_route(nics: list[Nic]) -> tuple[Nic, ...]:
    """Leave the gateway of each family to the first NIC that has one."""
    made = []
    known4 = known6 = False
    for nic in nics:
        made.append(
            replace(nic, gateway=None if known4 else nic.gateway, gateway6=None if known6 else nic.gateway6),
        )
        known4, known6 = known4 or nic.gateway is not None, known6 or nic.gateway6 is not None
    return tuple(made)

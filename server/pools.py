"""Turns ``[network.NAME]`` into the pool of addresses that the store leases out."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from flyinglow.factory.addressing import NetworkTerms
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.networks import addresses_of
from flyinglow.workspace.model import Nic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.server.configuration.settings import Network

MAX_POOL = 65_536


def pool(name: str, network: Network) -> list[Nic]:
    """Return every address of a network's range with its MAC and host name. Raises InvalidError over MAX_POOL.

    The MAC is the prefix and the last three bytes of the address; networks that would make the same ones are refused
    with the configuration. The gateway is never leased.
    """
    net = ipaddress.ip_network(network.cidr)
    first, last = addresses_of(network.range)
    size = int(last) - int(first) + 1
    if size > MAX_POOL:
        message = f"network.{name}.range has {size} addresses; the most is {MAX_POOL}"
        raise InvalidError(message)
    hosts = (type(first)(int(first) + n) for n in range(size))
    return [_nic(name, network, net.prefixlen, ip) for ip in hosts if str(ip) != network.gateway]


def network_terms(networks: Mapping[str, Network]) -> dict[str, NetworkTerms]:
    """Return what the NICs of each network have besides their pool."""
    return {
        name: NetworkTerms(
            cidr6=network.cidr6,
            gateway6=network.gateway6,
            dns6=network.dns6,
            delivery=network.delivery,
            vlan=network.vlan,
        )
        for name, network in networks.items()
    }


def _nic(name: str, network: Network, prefix: int, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Nic:
    low = int(ip) & 0xFFFFFF
    octets = [network.mac_prefix, *(f"{low >> shift & 0xFF:02x}" for shift in (16, 8, 0))]
    return Nic(
        network=name,
        ip=str(ip),
        prefix=prefix,
        mac=":".join(octets),
        hostname=network.hostname.format(network=name, n=_number(ip, prefix)),
        gateway=network.gateway,
        dns=network.dns,
    )


def _number(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int) -> str:
    host = int(ip) & ((1 << (ip.max_prefixlen - prefix)) - 1)
    if isinstance(ip, ipaddress.IPv6Address):
        return f"{host:x}"
    # 10.1.2.3/16 is 2-3: the octets that differ inside the network, as people write them
    return "-".join(str(ip).split(".")[min(prefix // 8, 3) :])

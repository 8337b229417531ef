"""What a workspace's NICs have besides the addresses of their pool."""

import pytest

from flyinglow.factory.addressing import NetworkTerms, address6, complete, with_one_route
from flyinglow.workspace.model import Nic

NIC = Nic(network="public", name="eth0", ip="10.1.0.10", prefix=24, mac="52:54:00:01:00:0a", gateway="10.1.0.1")
DUAL = NetworkTerms(cidr6="fd00:1::/64", gateway6="fd00:1::1", dns6=("fd00:1::53",), vlan=42)


@pytest.mark.parametrize(
    ("ip", "cidr6", "expected"),
    [
        ("10.1.0.10", "fd00:1::/64", "fd00:1::a01:a"),
        ("192.0.2.33", "64:ff9b::/96", "64:ff9b::c000:221"),
        ("10.1.0.10", "fd00:1:0:0:8000::/72", "fd00:1::8000:0:a01:a"),
    ],
)
def test_an_ipv6_address_ends_in_the_ipv4_address(ip: str, cidr6: str, expected: str) -> None:
    assert address6(ip, cidr6) == expected


def test_a_network_without_room_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 32 bits"):
        address6("10.1.0.10", "fd00:1::/97")


def test_a_nic_is_told_what_its_network_is() -> None:
    made = complete(NIC, DUAL)
    assert (made.ip6, made.prefix6, made.gateway6, made.dns6) == ("fd00:1::a01:a", 64, "fd00:1::1", ("fd00:1::53",))
    assert (made.vlan, made.delivery, made.ip, made.gateway) == (42, "dhcp", "10.1.0.10", "10.1.0.1")
    plain = complete(NIC, NetworkTerms(delivery="static"))
    assert (plain.ip6, plain.gateway6, plain.delivery) == (None, None, "static")


def test_only_the_first_nic_with_a_gateway_is_the_way_out_for_each_family() -> None:
    closed = Nic(network="private", name="eth0", ip="10.2.0.10", prefix=24)
    late6 = complete(NIC, DUAL)
    nics = with_one_route([closed, NIC, late6, late6])
    assert [nic.gateway for nic in nics] == [None, "10.1.0.1", None, None]
    assert [nic.gateway6 for nic in nics] == [None, None, "fd00:1::1", None]

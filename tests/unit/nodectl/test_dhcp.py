"""What dnsmasq and ip are told, word by word."""

import ipaddress
from pathlib import Path

from flyinglow.nodectl.dhcp import configuration, host_line, option_lines
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network import hostname_of, tap_commands

NIC = NicSpec(
    network="n",
    mac="02:00:00:00:00:AA",
    ip="10.0.0.5",
    prefix=24,
    hostname="ce-n",
    gateway="10.0.0.1",
    dns=("10.0.0.2",),
)
BARE = NicSpec(network="n", mac="02:00:00:00:00:ab", ip="10.0.0.6", prefix=24, hostname="x")


def test_a_host_is_told_by_its_mac() -> None:
    assert host_line("fla1.0", NIC, "ce") == "02:00:00:00:00:aa,set:fla1.0,10.0.0.5,ce\n"


def test_router_and_name_servers_only_where_there_are_some() -> None:
    assert option_lines("t", NIC) == "tag:t,option:router,10.0.0.1\ntag:t,option:dns-server,10.0.0.2\n"
    assert option_lines("t", BARE) == ""


def test_it_answers_known_macs_on_one_bridge_and_is_no_name_server() -> None:
    networks = {ipaddress.IPv4Network("10.1.0.0/26"), ipaddress.IPv4Network("10.0.0.0/24")}
    lines = configuration("br0", Path("/run/x"), networks).splitlines()
    for line in ("port=0", "interface=br0", "dhcp-ignore=tag:!known", "dhcp-authoritative", "no-ping"):
        assert line in lines
    assert [line for line in lines if line.startswith("dhcp-range")] == [
        "dhcp-range=10.0.0.0,static,255.255.255.0,12h",
        "dhcp-range=10.1.0.0,static,255.255.255.192,12h",
    ]
    assert "dhcp-option=option:router" in lines


def test_a_tap_becomes_a_port_of_its_bridge() -> None:
    text = tap_commands("fla1.0", "br0")
    assert "tuntap add dev fla1.0 mode tap\n" in text
    assert "link set dev fla1.0 master br0\n" in text
    assert "mode tap user vm\n" in tap_commands("fla1.0", "br0", "vm")


def test_a_guest_has_one_name_on_all_its_nics() -> None:
    assert hostname_of(VmSpec("a1", "n", 1, 1, nics=(NIC, BARE))) == "ce-n"
    assert hostname_of(VmSpec("a1", "n", 1, 1, nics=(NIC, BARE), hostname="ce")) == "ce"
    assert hostname_of(VmSpec("a1", "n", 1, 1)) == "a1"

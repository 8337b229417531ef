"""What dnsmasq and ip are told, word by word."""

import dataclasses
import ipaddress
from pathlib import Path

from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network.bridges import hostname_of, tap_commands
from flyinglow.nodectl.network.dnsmasq import Served, configuration, host_line, network_lines, read_served, served

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
    label = served(NIC).label
    assert host_line(NIC, "ce") == f"02:00:00:00:00:aa,set:{label},10.0.0.5,ce\n"
    assert label != served(BARE).label


def test_router_and_name_servers_only_where_there_are_some() -> None:
    known = served(NIC)
    assert network_lines(known)[1:] == [
        f"dhcp-option=tag:{known.label},option:router,10.0.0.1",
        f"dhcp-option=tag:{known.label},option:dns-server,10.0.0.2",
    ]
    assert network_lines(served(BARE)) == ["dhcp-range=10.0.0.0,static,255.255.255.0,12h"]


def test_it_answers_known_macs_on_one_bridge_and_is_no_name_server() -> None:
    networks = {Served("10.1.0.0/26", None, ()), served(NIC), served(BARE)}
    lines = configuration("br0", Path("/run/x"), networks).splitlines()
    for line in ("port=0", "interface=br0", "dhcp-ignore=tag:!known", "dhcp-authoritative", "no-ping"):
        assert line in lines
    assert sorted(line for line in lines if line.startswith("dhcp-range")) == [
        "dhcp-range=10.0.0.0,static,255.255.255.0,12h",
        "dhcp-range=10.1.0.0,static,255.255.255.192,12h",
    ]
    assert "dhcp-option=option:router" in lines


def test_an_ipv6_network_is_advertised_as_managed_and_its_addresses_go_with_the_macs() -> None:
    dual = dataclasses.replace(NIC, ip6="fd00::5", gateway6="fd00::1", dns6=("fd00::53",))
    known = served(dual)
    assert known.label != served(NIC).label
    assert host_line(dual, "ce") == f"02:00:00:00:00:aa,set:{known.label},[fd00::5],10.0.0.5,ce\n"
    assert network_lines(known)[3:] == [
        "dhcp-range=fd00::,static,64,12h",
        f"dhcp-option=tag:{known.label},option6:dns-server,[fd00::53]",
    ]
    folder = Path("/run/x")
    assert "ra-param=br0,0,0\n" in configuration("br0", folder, {known})
    routes = served(dual, [ipaddress.IPv6Address("fd00::1")])
    assert routes.label == known.label
    assert "enable-ra\nra-param=br0,0\n" in configuration("br0", folder, {routes, served(NIC)})
    assert "enable-ra" not in configuration("br0", folder, {served(NIC)})


def test_what_an_earlier_version_wrote_down_is_understood() -> None:
    assert read_served({"network": "10.0.0.0/24", "gateway": None, "dns": ["10.0.0.2"]}).dns == ("10.0.0.2",)


def test_a_tap_becomes_a_port_of_its_bridge() -> None:
    text = tap_commands("fla1.0", "br0")
    assert "tuntap add dev fla1.0 mode tap\n" in text
    assert "link set dev fla1.0 master br0\n" in text
    assert "mode tap user vm\n" in tap_commands("fla1.0", "br0", "vm")


def test_a_guest_has_one_name_on_all_its_nics() -> None:
    assert hostname_of(VmSpec("a1", "n", 1, 1, nics=(NIC, BARE))) == "ce-n"
    assert hostname_of(VmSpec("a1", "n", 1, 1, nics=(NIC, BARE), hostname="ce")) == "ce"
    assert hostname_of(VmSpec("a1", "n", 1, 1)) == "a1"

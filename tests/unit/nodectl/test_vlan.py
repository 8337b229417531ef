"""A network is one VLAN on every node: where service and node do not say the same, nothing is connected."""

from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.nodectl.messages import NicSpec
from flyinglow.nodectl.network import vlan

NIC: dict[str, Any] = {"network": "n", "mac": "02:00:00:00:00:01", "ip": "10.0.0.5", "prefix": 24, "hostname": "x"}


def _config(**settings: object) -> config.Config:
    return config.build({"state": "/s", "node": "n1", **settings})


@pytest.mark.parametrize(
    ("settings", "number", "wire"),
    [
        ({}, None, None),
        ({}, 42, None),
        ({"trunk": "eth0"}, None, None),
        ({"trunk": "eth0"}, 42, "eth0.42"),
        ({"vlans": {"br": "eth1.42"}}, 42, "eth1.42"),
        ({"vlans": {"br": "eth1.42"}, "trunk": "eth0"}, 42, "eth1.42"),
        ({"vlans": {"br": "eth1.7"}}, None, "eth1.7"),
        ({"vlans": {"other": "eth1.7"}, "trunk": "bond0"}, 4094, "bond0.4094"),
    ],
)
def test_the_wire_is_what_node_and_service_say_together(
    settings: dict[str, object], number: int | None, wire: str | None
) -> None:
    assert vlan.wire_of(_config(**settings), "br", number) == wire


def test_two_that_differ_connect_nothing() -> None:
    with pytest.raises(BrokenError, match=r"VLAN 42, and bridge br on node n1 is VLAN eth1\.7"):
        vlan.wire_of(_config(vlans={"br": "eth1.7"}), "br", 42)


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ([], "none of its ports is named"),
        (["eth0", "fla1.42"], "none of its ports is named"),
        (["eth0.7@eth0"], "it is VLAN 7"),
        (["eth0.42@eth0", "eth1.7@eth1"], "it is VLAN 42, 7"),
        (["eth0.42@eth0", "fla1.0"], ""),
    ],
)
def test_a_bridge_that_the_site_made_must_say_by_its_wire_which_vlan_it_is(
    tmp_path: Path, ports: list[str], words: str
) -> None:
    program = tmp_path / "ip"
    lines = "".join(f"echo '{number}: {name}: <BROADCAST> mtu 1500'\n" for number, name in enumerate(ports, 2))
    program.write_text(f"#!/bin/sh\n{lines}")
    program.chmod(0o755)
    node, nic = _config(ip=str(program)), NicSpec(**NIC, vlan=42)
    if not words:
        vlan.ensure(node, "br", nic)
        return
    with pytest.raises(BrokenError, match=words):
        vlan.ensure(node, "br", nic)


def test_a_bridge_is_not_made_the_wire_of_two_vlans(tmp_path: Path) -> None:
    program = tmp_path / "ip"
    program.write_text("#!/bin/sh\necho '2: eth0.7@eth0: <BROADCAST> mtu 1500'\n")
    program.chmod(0o755)
    with pytest.raises(BrokenError, match="it is VLAN 7"):
        vlan.ensure(_config(ip=str(program), trunk="lo"), "br", NicSpec(**NIC, vlan=42))


@pytest.mark.parametrize("name", ["eth0.100.200", "e e", "x" * 11, "eth0\n", "eth0/1"])
def test_a_trunk_is_an_interface_that_leaves_room_for_the_number(name: str) -> None:
    with pytest.raises(InvalidError, match="trunk"):
        _config(trunk=name)

"""A network is the same VLAN on both nodes of a real 802.1Q trunk, which the kernel of domain 0 certainly has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flyinglow.cli.demo.lrm_site import NODECTL
from rigs.guest import Guest
from rigs.xen.site import IMAGES, site_on
from rigs.xen.world import XenNode, XenWorld

pytestmark = [pytest.mark.xen, pytest.mark.timeout(1800), pytest.mark.xdist_group("xen")]

CONFIG = "/etc/flyinglow/trunk.json"


def spec(tag: str, number: int, vlan: int) -> dict[str, Any]:
    nic = {"network": "private", "bridge": "br-v", "mac": f"52:54:00:0f:01:{number:02x}", "prefix": 24}
    nic |= {"ip": f"10.79.0.{100 + number}", "hostname": tag, "vlan": vlan}
    return {"tag": tag, "name": tag, "memory_mb": 96, "cpus": 1, "kernel": f"{IMAGES}/kernel", "nics": [nic]}


def create(node: XenNode, given: dict[str, Any]) -> dict[str, Any]:
    done = node.run([NODECTL, "--config", CONFIG, "--json", "create"], text=json.dumps(given), check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_same_network_is_the_same_vlan_on_both_nodes_of_a_trunk(world: XenWorld, guest_image: Guest) -> None:
    with site_on(world, guest_image, lrm=True):
        nodes: list[XenNode] = [world.node(name) for name in world.names]
        for number, node in enumerate(nodes, 1):
            for words in (
                "ip link add br-v type bridge forward_delay 0",
                f"ip address add 10.79.0.{number}/24 dev br-v",
                "ip link set br-v up",
            ):
                node.run(words.split())
            plain = json.loads(node.run(["cat", "/etc/flyinglow/nodectl.json"]).stdout)
            told = {**plain, "bridges": ["br-v"], "trunk": "eth0"}
            node.run(["tee", CONFIG], text=json.dumps(told))
            made = create(node, spec(f"v{number}", number, 42))
            assert made.get("status") == "created", made
            wire = node.run(["ip", "-details", "link", "show", "dev", "eth0.42"]).stdout
            assert "vlan protocol 802.1Q id 42" in wire
            assert "master br-v" in wire
        nodes[0].run(["ping", "-c", "2", "-W", "30", "10.79.0.2"])
        nodes[1].run(["ip", "link", "set", "eth0.42", "down"])  # there is no other way
        assert nodes[0].run(["ping", "-c", "2", "-W", "3", "10.79.0.2"], check=False).returncode != 0
        refused = create(nodes[0], spec("w1", 9, 43))
        assert "it is VLAN 42" in refused["error"]["message"]
        for node in nodes:
            node.run([NODECTL, "--config", CONFIG, "kill-all"])
            assert "eth0.42" not in node.run(["ip", "link"]).stdout
            node.run(["ip", "link", "delete", "br-v"])

"""What a guest with several NICs says of its addresses and routes: by DHCP, by its context, and with IPv6."""

import base64
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.full]  # tests/e2e/test_networks.py sees most of it through the service

CONTEXT = """name head
nic eth0 public 10.77.0.11/24 head 02:00:0a:4d:00:0b gateway=10.77.0.1 ip6=fd00:77::b/64 gateway6=fd00:77::1
nic eth1 private 10.78.0.11/26 head 02:00:0a:4e:00:0b ip6=fd00:78::b/64 dns6=fd00:78::53 delivery=static
nic eth2 private 10.78.0.12/26 head 02:00:0a:4e:00:0c delivery=static
peer router 10.77.0.1
peer router6 fd00:77::1
peer site 10.78.0.1
peer site6 fd00:78::1
"""
NICS: list[dict[str, Any]] = [
    {"network": "public", "mac": "02:00:0a:4d:00:0b", "ip": "10.77.0.11", "prefix": 24, "bridge": "pub",
     "gateway": "10.77.0.1", "ip6": "fd00:77::b", "gateway6": "fd00:77::1"},
    {"network": "private", "mac": "02:00:0a:4e:00:0b", "ip": "10.78.0.11", "prefix": 26, "bridge": "priv",
     "ip6": "fd00:78::b", "delivery": "static"},
    {"network": "private", "mac": "02:00:0a:4e:00:0c", "ip": "10.78.0.12", "prefix": 26, "bridge": "priv",
     "delivery": "static"},
]  # fmt: skip


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        Path(folder).chmod(0o755)  # dnsmasq looks into it as nobody
        yield Path(folder)


def _console(agent: AgentProcess) -> list[str]:
    return base64.b64decode(agent.order("console", "head")["data"]).decode(errors="replace").splitlines()


def _says(agent: AgentProcess, line: str) -> bool:
    return line in _console(agent)


def test_three_nics_have_their_addresses_one_default_route_and_no_quarrel_with_the_rules(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = new_space("node")
    for bridge, address, address6 in (
        ("pub", "10.77.0.1/24", "fd00:77::1/64"),
        ("priv", "10.78.0.1/26", "fd00:78::1/64"),
    ):
        space.bridge(bridge, address)
        space.run("ip", "address", "add", address6, "dev", bridge, "nodad")
    config = tmp_path / "node.json"
    config.write_text(
        f'{{"state": "{tmp_path}/node", "run": "{run_folder}/node", "node": "n", "watch_seconds": 0.1, '
        f'"images": ["{IMAGES}"], "bridges": ["pub", "priv"]}}'
    )
    with AgentProcess(config, space.argv()) as agent:
        nics = [{**nic, "hostname": "head"} for nic in NICS]
        agent.order("create", "head", **guest_image.spec("head", nics=nics, hostname="head", context=CONTEXT))
        assert len(space.processes()) == 2  # the agent, and dnsmasq for one bridge: nobody answers on the other
        agent.order("start", "head")
        agent.news("head", ready=True)
        said = [line for line in _console(agent) if line.startswith(("GUEST-IP", "GUEST-NET", "GUEST-ROUTE"))]
        advertised = [line for line in said if " via fe80:" in line]  # it may have come already, or not yet
        assert all(" dev eth0 " in line for line in advertised)
        assert [line for line in said if line not in advertised] == [
            "GUEST-IP eth0 10.77.0.11/24 mac=02:00:0a:4d:00:0b",
            "GUEST-IP6 eth0 fd00:77::b/64",
            "GUEST-NET eth0 dhcp",
            "GUEST-IP eth1 10.78.0.11/26 mac=02:00:0a:4e:00:0b",
            "GUEST-IP6 eth1 fd00:78::b/64",
            "GUEST-NET eth1 static",
            "GUEST-IP eth2 10.78.0.12/26 mac=02:00:0a:4e:00:0c",
            "GUEST-NET eth2 static",
            "GUEST-ROUTE default via 10.77.0.1 dev eth0 metric 100",
            "GUEST-ROUTE default via fd00:77::1 dev eth0 metric 100",
        ]
        for name, address in (
            ("router", "10.77.0.1"),
            ("router6", "fd00:77::1"),
            ("site", "10.78.0.1"),
            ("site6", "fd00:78::1"),
        ):
            eventually(partial(_says, agent, f"GUEST-PEER {name} {address} ok"), 60)
        for address in ("10.78.0.11", "10.78.0.12", "fd00:78::b", "fd00:77::b"):  # both NICs of one network answer
            space.run("ping", "-c", "2", "-W", "10", address)
        assert set(agent.order("info", "head")["dropped"]) <= {"other"}
        agent.order("destroy", "head")
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []

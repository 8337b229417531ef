"""Two nodes, two networks, both families: what guests say of theirs, while one of them pretends to be somebody else.

``test_whole_lease.py`` has most of it in every run; here are a network that is delivered static and two NICs on one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, File, Nic, Part, Resource, connect
from rigs.daemon import NODES, Daemon
from rigs.doorman import Doorman
from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space, link, new_space
from rigs.pretending import PUBLIC, on_bridges, tricks

__all__ = ["new_space"]

pytestmark = [pytest.mark.root, pytest.mark.alone, pytest.mark.full]

RIG = Path(__file__).parents[1] / "rigs/doorman.py"
PRIVATE = {"gateway": "10.73.0.1", "cidr6": "fd00:73::/64", "delivery": "static"}


class BridgedDaemon(Daemon):
    """A service whose nodes are namespaces with bridges, one VM each."""

    def _write_node(self, node: str, extra: Any) -> None:
        super()._write_node(node, {"images": [str(IMAGES)], "bridges": ["pub", "priv"], "watch_seconds": 0.2, **extra})
        self.agent(node).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{RIG}" "{self.door(node)}" "$@"\n')

    def door(self, node: str) -> Path:
        return self.root / node / "door"

    def _toml(self) -> str:
        return on_bridges(super()._toml(), {"public": PUBLIC, "private": PRIVATE})


@pytest.fixture
def bridged(new_space: Callable[[str], Space], guest_image: Guest) -> Iterator[tuple[BridgedDaemon, list[Space]]]:
    spaces = [_node(new_space, name, number) for number, name in enumerate(NODES, 1)]
    for bridge in ("pub", "priv"):
        link(spaces[0], spaces[1], bridge)
    with tempfile.TemporaryDirectory(prefix="fl") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        daemon = BridgedDaemon(Path(folder) / "site", options={"driver": "qemu", "image": guest_image.entry})
        for node, space in zip(NODES, spaces, strict=True):
            config = daemon.root / node / "nodectl.json"
            argv = space.argv(sys.executable, "-m", "flyinglow.nodectl", "--config", str(config))
            stack.enter_context(Doorman(daemon.door(node), argv))
        stack.callback(daemon.clean_up)
        daemon.start()
        yield daemon, spaces
        daemon.stop()
    for space in spaces:
        assert [name for name in space.interfaces() if name.startswith("fl")] == []


def _node(new_space: Callable[[str], Space], name: str, number: int) -> Space:
    space = new_space(name)
    for bridge, address, address6 in (
        ("pub", f"198.51.100.{number}/24", f"fd00:51::{number}/64"),
        ("priv", f"10.73.0.{number}/24", f"fd00:73::{number}/64"),
    ):
        space.bridge(bridge, address)
        space.run("ip", "address", "add", address6, "dev", bridge, "nodad")
    return space


def _says(resource: Resource, *lines: str) -> Callable[[], list[str]]:
    def heard() -> list[str]:
        said = resource.console(max=1 << 20).data.decode(errors="replace").splitlines()
        return said if set(lines) <= set(said) else []

    return heard


def test_honest_traffic_of_both_families_flows_while_a_guest_that_pretends_is_stopped_and_told_of(
    bridged: tuple[BridgedDaemon, list[Space]], consumer: Consumer, eventually: Callable[..., Any]
) -> None:
    daemon, _ = bridged
    both = (Nic(network="public"), Nic(network="private"))
    thrice = (*both, Nic(network="private"))
    trick = File(path="/etc/flyinglow/roles/pretender", content=tricks(pings=2), mode="755")
    plain: dict[str, Any] = {"memory_mb": 128, "disks": (Disk(image="guest"),)}
    bad_one = Part(name="bad", provides=("pretender",), files=(trick,), nics=both, **plain)
    parts = [Part(name="ce", nics=thrice, **plain), bad_one]
    whole = connect(daemon.url).create(parts, name="two", duration=1200).whole
    watch = consumer.watch(whole)
    members = {member.name: member for member in whole.wait("Running", timeout=90).members}
    assert {member.node for member in members.values()} == set(NODES)
    ce, bad = members["ce"].resource, members["bad"].resource
    public, private, second = ce.properties().nics
    assert (public.ip, public.ip6) == ("198.51.100.20", "fd00:51::c633:6414")
    assert (public.gateway, public.gateway6, public.delivery) == ("198.51.100.1", "fd00:51::1", "dhcp")
    assert (private.ip6, private.prefix6, private.gateway, private.delivery) == ("fd00:73::a49:14", 64, None, "static")

    lines = (
        f"GUEST-IP eth0 198.51.100.20/24 mac={public.mac}",
        "GUEST-IP6 eth0 fd00:51::c633:6414/64",
        "GUEST-NET eth0 dhcp",
        f"GUEST-IP eth1 10.73.0.20/24 mac={private.mac}",
        "GUEST-IP6 eth1 fd00:73::a49:14/64",
        "GUEST-NET eth1 static",
        f"GUEST-IP eth2 10.73.0.21/24 mac={second.mac}",
        "GUEST-ROUTE default via 198.51.100.1 dev eth0 metric 100",
        "GUEST-ROUTE default via fd00:51::1 dev eth0 metric 100",
    )
    said = eventually(_says(ce, *lines), 90)
    assert not any("default" in line and "eth0" not in line for line in said)
    theirs = [address for nic in bad.properties().nics for address in (nic.ip, nic.ip6)]
    ours = [address for nic in (public, private, second) for address in (nic.ip, nic.ip6)]
    eventually(_says(bad, "TRICK 198.51.100.99 stopped", "TRICK fd00:51::99 stopped"), 90)
    eventually(_says(ce, *(f"GUEST-PEER bad {address} ok" for address in theirs)), 90)
    eventually(_says(bad, *(f"GUEST-PEER ce {address} ok" for address in ours)), 90)

    found = eventually(lambda: daemon.admin("alarm.list"), 60)
    assert [one["workspace"] for one in found] == ["bad"], [(one["workspace"], one["sent"]) for one in found]
    (alarm,) = found
    assert (alarm["workspace"], alarm["node"]) == ("bad", members["bad"].node)
    assert alarm["counts"]
    words = ["admin", "alarms", "--state-dir", str(daemon.state), "--json"]
    shown = subprocess.run([sys.executable, "-m", "flyinglow.cli", *words], check=True, capture_output=True, timeout=60)
    assert [one["tag"] for one in json.loads(shown.stdout)] == [alarm["tag"]]
    stopped = eventually(lambda: [nic for nic in bad.properties().nics if nic.dropped], 60)
    assert {nic.network for nic in stopped} == {"public"}
    assert not any(nic.dropped for nic in ce.properties().nics)
    while (news := watch.queue.get(timeout=60)) is not None and "was stopped" not in news.reason:
        pass
    assert news is not None
    whole.destroy()
    eventually(lambda: all(node["free"]["memory_mb"] == 200 for node in daemon.admin("node.list")), 90)
    assert [one["workspace"] for one in daemon.admin("alarm.list")] == ["bad"]

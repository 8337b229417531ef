"""A PV guest that pretends, on a vif of real Xen: its tricks work while the rules are removed, and none while they are.

The same guest sends the same frames all the time. In between, only the rules of its node change: they are flushed by
hand, and made whole again by the node's program, as it does with every VM that comes.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rigs import frames
from rigs.guest import Guest
from rigs.wire import Wire
from rigs.xen import sender
from rigs.xen.control import WAIT, Control, spec
from rigs.xen.site import Stopwatch, catalogue, site_on
from rigs.xen.world import XenNode, XenWorld

pytestmark = [pytest.mark.xen, pytest.mark.timeout(1800), pytest.mark.xdist_group("xen")]

TAG, NUMBER = "s1", 7
MAC, IP = "52:54:00:0f:00:07", "10.73.0.107"
FREE_MAC, FREE_IP, PEER_IP = "52:54:00:0f:00:63", "10.73.0.160", "10.73.0.2"
OWN6, FREE6, GLOBAL6 = frames.link_local(MAC), frames.link_local(FREE_MAC), "2001:db8::63"
TARGET = "10.73.0.63"
ROUNDS = 3  # honest frames; all tricks stand between one and the next
SETTLED = 5.0  # seconds until all is heard that was on its way
HONEST = b"honest as the day"
SENDER = b"""#!/bin/sh
{ while :; do for file in /tricks/*; do /tricks.program < $file; done; sleep 1; done; } > /dev/null 2>&1 &
"""

Trick = tuple[bytes, str, bytes]
"""What the guest sends, what that is counted as, and what is found of it on another wire."""


def told(name: str, kind: str, make: Any) -> Trick:
    """Return a trick whose frame has a mark of its own: ``make`` is given it."""
    mark = f"<{name}>".encode()
    return make(mark), kind, mark


TRICKS: dict[str, Trick] = {
    "MAC address": told("MAC", "mac", lambda mark: frames.datagram(FREE_MAC, IP, TARGET, mark)),
    "IP address": told("IP", "ip", lambda mark: frames.datagram(MAC, FREE_IP, TARGET, mark)),
    "IP address of the node": told("node", "ip", lambda mark: frames.datagram(MAC, PEER_IP, TARGET, mark)),
    "IP in IP": told(
        "tunnel",
        "ip",
        lambda mark: frames.ether(
            MAC,
            frames.BROADCAST,
            0x0800,
            frames.ipv4(IP, TARGET, 4, frames.ipv4(FREE_IP, TARGET, 17, frames.udp(4000, 4000, mark))),
        ),
    ),
    "ARP for the node": (frames.arp(MAC, PEER_IP, PEER_IP), "arp", frames.mac(MAC) + frames.ip(PEER_IP)),
    "ARP with another's MAC": (
        frames.arp(MAC, IP, IP, inner=FREE_MAC, answer=True),
        "arp",
        frames.mac(FREE_MAC) + frames.ip(IP),
    ),
    "DHCP server": told("dhcp", "dhcp", lambda mark: frames.datagram(MAC, IP, "255.255.255.255", mark, (67, 68))),
    "DHCPv6 server": told("dhcp6", "dhcp", lambda mark: frames.datagram6(MAC, OWN6, mark, (547, 546))),
    "router advertisement": told("router", "nd", lambda mark: frames.router(MAC, OWN6, mark)),
    "neighbour advertisement": (
        frames.neighbour(MAC, OWN6, FREE6, answer=True),
        "nd",
        frames.ip(FREE6) + b"\x02\x01" + frames.mac(MAC),
    ),
    "redirect": told("redirect", "nd", lambda mark: frames.icmp6(MAC, OWN6, "ff02::1", 137, bytes(36) + mark)),
    "IPv6 address": told("IP6", "ip", lambda mark: frames.datagram6(MAC, FREE6, mark)),
    "global IPv6 address": told("global", "ip", lambda mark: frames.datagram6(MAC, GLOBAL6, mark)),
    "VLAN tag": told("vlan", "vlan", lambda mark: frames.tagged(frames.datagram(MAC, IP, TARGET, mark), 7)),
    "RARP": told("rarp", "other", lambda mark: frames.ether(MAC, frames.BROADCAST, 0x8035, mark)),
}
KINDS = {kind for _, kind, _ in TRICKS.values()}


def pretender(guest: Guest) -> dict[str, Any]:
    """Return a VM whose guest sends one frame after the other, the honest one last."""
    parcels = [sender.parcel(frame) for frame, _, _ in TRICKS.values()]
    parcels.append(sender.parcel(frames.datagram(MAC, IP, TARGET, HONEST)))
    given = [(f"/tricks/{number:02}", data, 0o644) for number, data in enumerate(parcels)]
    given += [("/tricks.program", sender.program(), 0o755), ("/etc/flyinglow/roles/pretender", SENDER, 0o755)]
    files = [{"path": path, "content": base64.b64encode(data).decode(), "mode": mode} for path, data, mode in given]
    return spec(TAG, catalogue(guest), NUMBER, context="role pretender\n", files=files)


def heard(wire: Wire, rounds: int) -> set[str]:
    """Return which tricks arrive between now and so many honest frames."""
    found: set[str] = set()
    for _ in range(rounds):
        seen = wire.until(HONEST, WAIT)
        assert seen
        assert HONEST in seen[-1]
        found |= {name for name, (_, _, tell) in TRICKS.items() if any(tell in frame for frame in seen)}
    return found


def table_of(node: XenNode) -> str:
    """Return the name of the program's own table of rules."""
    (line,) = [line for line in node.run(["nft", "list", "tables"]).stdout.splitlines() if "flyinglow" in line]
    return line.split()[-1]


def test_a_pv_guest_that_pretends_is_stopped_and_counted(world: XenWorld, guest_image: Guest) -> None:
    node: XenNode = world.node("node1")
    control, watch = Control(node), Stopwatch()
    with (
        site_on(world, guest_image, lrm=True),
        Wire(lambda *words: world.head.argv(words), "br-private") as outside,
    ):
        control.do("create", given=pretender(guest_image))
        control.do("start", TAG)
        control.hears(TAG, "GUEST-READY")
        watch.lap("until the guest is ready, and pretends")
        node.run(["nft", "flush", "table", "bridge", table_of(node)])
        through: set[str] = set()
        while through != set(TRICKS) and watch.since() < WAIT:
            through |= heard(outside, 1)
        assert through == set(TRICKS)
        watch.lap(f"without rules: all {len(TRICKS)} tricks are heard by the site")
        assert control.do("create", given=spec("s2", catalogue(guest_image), 8))["status"] == "created"
        before = control.do("info", TAG)["dropped"]
        outside.until(b"what nobody sends", SETTLED)
        heard(outside, 1)
        assert heard(outside, ROUNDS) == set()
        watch.lap("with the rules that the next VM brings: none is, and the honest frame is")
        after = control.do("info", TAG)["dropped"]
        assert {kind for kind in KINDS if after.get(kind, 0) > before.get(kind, 0)} == KINDS, (before, after)
        print(f"    dropped since: { {kind: after[kind] - before.get(kind, 0) for kind in sorted(KINDS)} }")  # noqa: T201 - for people
        assert control.do("info", "s2")["dropped"] == {}
        for tag in (TAG, "s2"):
            control.do("destroy", tag)
        assert "flyinglow" not in node.run(["nft", "list", "tables"]).stdout

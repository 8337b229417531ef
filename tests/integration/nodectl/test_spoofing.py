"""Everything a guest can pretend: it works where no rules are, and is stopped and counted where they are."""

import dataclasses

import pytest

from rigs import frames
from rigs.guarded import IP, MAC, PEER_IP, PEER_MAC, RULES, Site
from rigs.wire import Wire

pytestmark = [pytest.mark.root]

FREE_MAC, FREE_IP = "02:00:0a:4e:00:63", "10.78.0.60"
OWN6, FREE6, GLOBAL6 = frames.link_local(MAC), frames.link_local(FREE_MAC), "2001:db8::63"
MARK = b"from the guest under test"
PAD = b"\0\x05\x02\0\0\0\0"  # the rest of eight bytes of options for all hops


@dataclasses.dataclass(frozen=True)
class Trick:
    """What a guest sends; ``tell`` is what is found of it on another wire; ``kind`` is what it is counted as."""

    frame: bytes
    kind: str
    tell: bytes


def _by_mark(frame: bytes, kind: str) -> Trick:
    return Trick(frame, kind, MARK)


INNER = frames.ipv4(FREE_IP, PEER_IP, 17, frames.udp(4000, 4000, MARK))
TRICKS = {
    "MAC address": _by_mark(frames.datagram(FREE_MAC, IP, "10.78.0.63", MARK), "mac"),
    "IP address": _by_mark(frames.datagram(MAC, FREE_IP, "10.78.0.63", MARK), "ip"),
    "IP address of another guest": _by_mark(frames.datagram(MAC, PEER_IP, "10.78.0.63", MARK), "ip"),
    "IP in IP": _by_mark(frames.ether(MAC, frames.BROADCAST, 0x0800, frames.ipv4(IP, "10.78.0.63", 4, INNER)), "ip"),
    "ARP for another": Trick(frames.arp(MAC, PEER_IP, PEER_IP), "arp", frames.mac(MAC) + frames.ip(PEER_IP)),
    "ARP with another's MAC": Trick(
        frames.arp(MAC, IP, IP, inner=FREE_MAC, answer=True), "arp", frames.mac(FREE_MAC) + frames.ip(IP)
    ),
    "DHCP server": _by_mark(frames.datagram(MAC, IP, "255.255.255.255", MARK, (67, 68)), "dhcp"),
    "DHCPv6 server": _by_mark(frames.datagram6(MAC, OWN6, MARK, (547, 546)), "dhcp"),
    "router advertisement": _by_mark(frames.router(MAC, OWN6, MARK), "nd"),
    "router advertisement behind options": _by_mark(frames.router(MAC, OWN6, MARK, before=PAD), "nd"),
    "neighbour advertisement": Trick(
        frames.neighbour(MAC, OWN6, FREE6, answer=True), "nd", frames.ip(FREE6) + b"\x02\x01" + frames.mac(MAC)
    ),
    "IPv6 address": _by_mark(frames.datagram6(MAC, FREE6, MARK), "ip"),
    "global IPv6 address": _by_mark(frames.datagram6(MAC, GLOBAL6, MARK), "ip"),
    "VLAN tag": _by_mark(frames.tagged(frames.datagram(MAC, IP, "10.78.0.63", MARK), 7), "vlan"),
    "RARP": Trick(frames.ether(MAC, frames.BROADCAST, 0x8035, MARK), "other", MARK),
}
NOT_SEEN_BY_EBTABLES = {"IPv6 address", "global IPv6 address"}
"""It stops these, too, but not knowing them from what an honest guest sends it counts them as ``other``."""


def _try(guarded: Site, tricks: dict[str, Trick], seconds: float) -> tuple[set[str], set[str]]:
    """Send each trick, an honest frame behind it; return what came through to the other guest and to the guarded."""
    through: tuple[set[str], set[str]] = (set(), set())
    with guarded.guest() as guest, guarded.guest("b2") as peer, Wire(guarded.outside.argv, "priv") as outside:
        _until_heard(guest, peer, outside)
        for name, trick in tricks.items():
            end = f"honest after {name}".encode()
            guest.send(trick.frame, frames.datagram(MAC, IP, "10.78.0.63", end))
            for wire, found in zip((peer, outside), through, strict=True):
                seen = wire.until(end, seconds)
                assert end in seen[-1], f"the honest frame after {name} was lost"
                if any(trick.tell in frame for frame in seen):
                    found.add(name)
    return through


def _until_heard(guest: Wire, *others: Wire) -> None:
    for number in range(100):
        mark = f"hello {number}".encode()
        guest.send(frames.datagram(MAC, IP, "10.78.0.63", mark))
        heard = [wire.until(mark, 1.0) for wire in others]
        if all(seen and mark in seen[-1] for seen in heard):
            return
    pytest.fail("honest frames do not come through")


def test_every_trick_works_without_rules(guarded: Site) -> None:
    guarded.create("off")
    guarded.create("off", "b2", PEER_MAC, PEER_IP)
    for found in _try(guarded, TRICKS, 60):
        assert found == set(TRICKS)
    assert guarded.dropped("off") == {}


@pytest.mark.parametrize("rules", RULES)
def test_every_trick_is_stopped_by_the_rules_and_counted(guarded: Site, rules: str) -> None:
    guarded.create(rules)
    guarded.create(rules, "b2", PEER_MAC, PEER_IP)
    assert _try(guarded, TRICKS, 60) == (set(), set())
    expected: dict[str, int] = {}
    for name, trick in TRICKS.items():
        kind = "other" if rules == "ebtables" and name in NOT_SEEN_BY_EBTABLES else trick.kind
        expected[kind] = expected.get(kind, 0) + 1
    assert guarded.dropped(rules) == expected
    assert guarded.dropped(rules, "b2") == {}
    listed = {vm["tag"]: vm["dropped"] for vm in guarded.control(rules, "status")["vms"]}
    assert listed == {"a1": expected, "b2": {}}
    guarded.control(rules, "destroy", "a1")
    with guarded.guest("b2") as peer, Wire(guarded.outside.argv, "priv") as outside:
        peer.send(frames.datagram(PEER_MAC, PEER_IP, "10.78.0.63", MARK))
        assert outside.hears(lambda seen: MARK in seen, 60)

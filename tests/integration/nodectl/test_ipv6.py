"""Guests with IPv6 addresses: told by DHCPv6 by their own node alone, and held to them as to their IPv4 addresses."""

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest

from rigs import dhcp6_client, frames
from rigs.guarded import IP, MAC, PEER_IP, PEER_MAC, Site, spec
from rigs.waiting import eventually
from rigs.wire import Wire

pytestmark = [pytest.mark.root]

IP6, PEER6, FREE6 = "fd00:78::a4e:b", "fd00:78::a4e:c", "fd00:78::a4e:63"
DNS6 = "fd00:78::53"
FOREIGN = "02:00:00:00:00:77"
OWN, PEER_OWN = frames.link_local(MAC), frames.link_local(PEER_MAC)
MARK = b"from the guest under test"


@pytest.fixture
def dual(guarded: Site) -> Site:
    """The site, with IPv6 on the bridge of its node."""
    _give_ipv6(guarded)
    return guarded


def _give_ipv6(site: Site) -> None:
    site.node.run("ip", "address", "replace", "fd00:78::1/64", "dev", "priv", "nodad")
    eventually(lambda: "tentative" not in site.node.run("ip", "-6", "address", "show", "dev", "priv"))


def _create(dual: Site, rules: str, **changes: Any) -> None:
    known: dict[str, Any] = {"ip6": IP6, "prefix6": 64, "dns6": [DNS6], **changes}
    dual.create(rules, **known)
    dual.create(rules, "b2", PEER_MAC, PEER_IP, **{**known, "ip6": PEER6})


def _until_heard(guest: Wire, *others: Wire) -> None:
    for number in range(100):
        mark = f"hello {number}".encode()
        guest.send(frames.datagram(MAC, IP, "10.78.0.63", mark))
        if all((seen := wire.until(mark, 0.3)) and mark in seen[-1] for wire in others):
            return
    pytest.fail("honest frames do not come through")


@dataclasses.dataclass(frozen=True)
class Case:
    """A frame, and what it is counted as; "" where it may pass."""

    frame: bytes
    kind: str
    tell: bytes = MARK


CASES = {
    "leased address": Case(frames.datagram6(MAC, IP6, MARK), ""),
    "advertisement of the leased address": Case(
        frames.neighbour(MAC, OWN, IP6, answer=True), "", frames.ip(IP6) + b"\x02\x01" + frames.mac(MAC)
    ),
    "question whether the leased address is in use": Case(
        frames.neighbour(MAC, "::", IP6, answer=False), "", b"\x87\x00"
    ),
    "question for another's MAC": Case(
        frames.neighbour(MAC, IP6, PEER6, answer=False), "", frames.ip(PEER6) + b"\x01\x01" + frames.mac(MAC)
    ),
    "address of another guest": Case(frames.datagram6(MAC, PEER6, MARK), "ip"),
    "free address": Case(frames.datagram6(MAC, FREE6, MARK), "ip"),
    "advertisement of another's address": Case(
        frames.neighbour(MAC, OWN, PEER6, answer=True), "nd", frames.ip(PEER6) + b"\x02\x01" + frames.mac(MAC)
    ),
    "advertisement as another": Case(
        frames.neighbour(MAC, PEER6, PEER6, answer=True), "nd", frames.ip(PEER6) + b"\x02\x01" + frames.mac(MAC)
    ),
    "question as another": Case(
        frames.neighbour(MAC, PEER6, FREE6, answer=False), "nd", frames.ip(FREE6) + b"\x01\x01" + frames.mac(MAC)
    ),
    "router advertisement": Case(frames.router(MAC, OWN, MARK), "nd"),
    "router advertisement from the leased address": Case(frames.router(MAC, IP6, MARK), "nd"),
    "redirect": Case(frames.icmp6(MAC, OWN, "ff02::1", 137, bytes(36) + MARK), "nd"),
    "DHCPv6 server": Case(frames.datagram6(MAC, IP6, MARK, (547, 546)), "dhcp"),
}


@pytest.mark.parametrize("rules", ["nft", "off"])
def test_a_guest_has_ipv6_from_its_node_alone_and_is_held_to_it(dual: Site, rules: str) -> None:
    _create(dual, rules)
    with dual.guest() as guest, dual.guest("b2") as peer, Wire(dual.outside.argv, "priv") as outside:
        _until_heard(guest, peer, outside)
        _check_delivery(guest, outside, guarded=rules != "off")
        _check_cases(guest, (peer, outside), guarded=rules != "off")
        if rules != "off":
            outside.send(frames.router(FOREIGN, frames.link_local(FOREIGN), MARK))
            outside.send(frames.datagram(FOREIGN, "10.78.0.2", "10.78.0.63", b"no router"))
            seen = guest.until(b"no router", 30)
            assert b"no router" in seen[-1]
            assert not any(MARK in frame for frame in seen)
    counts = Counter(case.kind for case in CASES.values() if case.kind and rules != "off")
    assert dual.dropped(rules) == counts
    assert dual.dropped(rules, "b2") == {}


def _check_delivery(guest: Wire, outside: Wire, *, guarded: bool) -> None:
    """Lease, and look for a router: neither is to be seen on the site's wire, nor had from there."""
    found = dhcp6_client.lease(guest, MAC)
    assert found is not None
    assert (found.ip, found.dns) == (IP6, (DNS6,))
    said = dhcp6_client.route(guest, MAC)
    assert said == dhcp6_client.Advertised(lifetime=0, managed=True, prefixes=("fd00:78::/64",))
    guest.send(frames.datagram(MAC, IP, "10.78.0.63", b"the end"))
    seen = outside.until(b"the end", 30)
    assert b"the end" in seen[-1]
    assert any(dhcp6_client.asks(frame, MAC) for frame in seen) is not guarded
    assert not guarded or not any(map(dhcp6_client.advertised, seen))
    assert (dhcp6_client.route(outside, FOREIGN, 3 if guarded else 20) is None) is guarded
    assert dhcp6_client.lease(outside, FOREIGN, 2) is None
    assert (dhcp6_client.lease(outside, MAC, 3 if guarded else 20) is None) is guarded


def _check_cases(guest: Wire, others: tuple[Wire, ...], *, guarded: bool) -> None:
    for name, case in CASES.items():
        end = f"honest after {name}".encode()
        guest.send(case.frame, frames.datagram(MAC, IP, "10.78.0.63", end))
        for wire in others:
            seen = wire.until(end, 30)
            assert end in seen[-1], name
            through = any(case.tell in frame for frame in seen)
            assert through is (not guarded or not case.kind), name


def test_what_cannot_have_ipv6_is_refused_and_a_node_that_is_the_gateway_says_so(guarded: Site) -> None:
    given = spec("a1", MAC, IP, ip6=IP6, prefix6=64, gateway6="fd00:78::1")
    for rules, words in (
        ("nft", "no address in fd00:78::/64"),
        ("ebtables", "ebtables cannot hold a guest to its IPv6 address"),
    ):
        done = guarded.result(rules, "create", given=given)
        assert words in json.loads(done.stdout)["error"]["message"]
        _give_ipv6(guarded)
    assert guarded.control("nft", "create", given=given)["tag"] == "a1"
    with guarded.guest() as guest:
        said = dhcp6_client.route(guest, MAC)
        assert said is not None
        assert said.lifetime > 0

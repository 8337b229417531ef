"""The guard of the ports as one nftables table of the bridge family: rules once, a few set elements for every VM.

The rules are declared anew with every change, in the same transaction, so that a table that was emptied or altered is
whole again afterwards. What was dropped is counted by the elements, which stay. The rules for what comes in stand
before the bridge learns a MAC; those for what goes on from port to port keep DHCP where it belongs: guests ask this
node's dnsmasq only, and nothing else answers them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.network.firewall import KINDS, Drops, Port

TARGET = "@th,64,128"  # the address that neighbour discovery is about (RFC 4861); this nft has no name for it
SETS = {
    "ports": "type ifname",
    "macs": "type ether_addr",
    "hardware": "type ifname . ether_addr",
    "arps": "type ifname . ether_addr . ipv4_addr",
    "sources4": "type ifname . ipv4_addr",
    "sources6": "type ifname . ipv6_addr",
    "targets6": f"typeof iifname . {TARGET}",
    "servers4": "type ipv4_addr",
    "servers6": "type ipv6_addr",
    **{f"drops_{kind}": "type ifname; counter" for kind in KINDS},
}
ARP = "ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
IP, IP6 = "ether type ip", "ether type ip6"
LISTENING = "{ mld-listener-report, mld-listener-done, mld2-listener-report }"
TUNNELS = "{ 4, 41 }"  # IP in IP, IPv6 in either: an address that no rule would see
FROM_GUEST = (
    "iifname . ether saddr != @hardware goto drop_mac",
    "ether type { 8021q, 0x88a8 } goto drop_vlan",
    f"{ARP} iifname . arp saddr ether . arp saddr ip @arps accept",
    "ether type arp arp saddr ip 169.254.0.0/16 goto drop_other",
    "ether type arp goto drop_arp",
    f"{IP} udp sport 67 goto drop_dhcp",
    f"{IP} meta l4proto {TUNNELS} goto drop_ip",
    f"{IP} iifname . ip saddr @sources4 accept",
    f"{IP} ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
    f"{IP} ip saddr 0.0.0.0 ip protocol igmp goto drop_other",
    f"{IP} ip saddr 169.254.0.0/16 goto drop_other",
    f"{IP} goto drop_ip",
    f"{IP6} udp sport 547 goto drop_dhcp",
    f"{IP6} meta l4proto {TUNNELS} goto drop_ip",
    f"{IP6} icmpv6 type {{ nd-router-advert, nd-redirect }} goto drop_nd",
    f"{IP6} icmpv6 type nd-neighbor-advert iifname . {TARGET} != @targets6 goto drop_nd",
    f"{IP6} iifname . ip6 saddr @sources6 accept",
    f"{IP6} ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . {TARGET} @targets6 accept",
    f"{IP6} ip6 saddr :: icmpv6 type {LISTENING} accept",
    # A guest that makes up link-local addresses of its own does so on every start; it harms nobody by asking.
    f"{IP6} ip6 saddr {{ ::, fe80::/10 }} icmpv6 type {{ nd-neighbor-solicit, nd-router-solicit }} goto drop_other",
    f"{IP6} ip6 saddr {{ ::, fe80::/10 }} icmpv6 type {LISTENING} goto drop_other",
    f"{IP6} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} goto drop_nd",
    f"{IP6} goto drop_ip",
    "goto drop_other",
)
ONWARD = (
    "iifname @ports udp dport { 67, 547 } drop",  # the site is never asked
    "iifname @ports icmpv6 type nd-router-solicit drop",
    "oifname @ports udp dport { 68, 546 } drop",  # nor heard
    "oifname @ports icmpv6 type nd-router-advert drop",  # it would give guests addresses that they may not use
    "oifname @ports ether type { 8021q, 0x88a8 } drop",
)
ANSWERS = (  # of this node to its guests
    f"oifname != @ports {IP} ip saddr @servers4 udp sport 67 drop",
    f"oifname != @ports {IP6} ip6 saddr @servers6 udp sport 547 drop",
    f"oifname != @ports {IP6} ip6 saddr @servers6 icmpv6 type nd-router-advert drop",
)
CHAINS: dict[str, tuple[str, ...]] = {
    **{f"drop_{kind}": (f"iifname @drops_{kind}", "drop") for kind in KINDS},
    "guest": FROM_GUEST,
    "arriving": (
        "iifname @ports jump guest",
        "iifname != @ports ether saddr @macs udp dport { 67, 547 } drop",  # dnsmasq hears our guests from their ports
    ),
    "onward": ONWARD,
    "answers": ANSWERS,
}
HOOKS = {"arriving": "prerouting", "onward": "forward", "answers": "output"}
SHARED = ("servers4", "servers6")  # what stands in these is no one port's, and goes with the table
NOTHING = "No such file or directory"
Element = tuple[str, str]  # the set and what stands in it


class Nft:
    """Guards ports by a table of its own; two state directories on one node do not share one."""

    def __init__(self, program: str, table: str) -> None:
        self._program = program
        self._table = f"bridge {table}"
        self._rules = declaration(self._table)

    def admit(self, prefix: str, ports: Sequence[Port]) -> None:
        """Guard a VM's ports from now on; see ``Firewall``."""
        wanted = [element for port in ports for element in elements(port)]
        stale = [element for element in self._known(prefix) if element not in wanted]
        self._run(self._rules + self._lines("delete", stale) + self._lines("add", wanted))

    def forget(self, prefix: str) -> None:
        """Remove a VM's elements, and the table with the last one."""
        listing = self._listing()
        gone = [element for element, port in _elements_of(listing) if port.startswith(prefix)]
        if gone:
            left = any(not port.startswith(prefix) for _, port in _elements_of(listing) if port)
            self._run(self._lines("delete", gone) if left else f"delete table {self._table}\n")

    def forget_all(self) -> None:
        """Remove the table."""
        self._run(f"add table {self._table}\ndelete table {self._table}\n")

    def dropped(self) -> Mapping[str, Drops]:
        """Return what the elements have counted."""
        found: dict[str, dict[str, int]] = {}
        for item in self._listing():
            if item["name"] == "ports":
                for port in item.get("elem", []):
                    found.setdefault(port, {})
            if not item["name"].startswith("drops_"):
                continue
            for element in item.get("elem", []):
                count = element["elem"]["counter"]["packets"]
                if count:
                    found.setdefault(element["elem"]["val"], {})[item["name"][len("drops_") :]] = count
        return found

    def check(self) -> str:
        """Try the rules without making them."""
        version = tools.run([self._program, "--version"], seconds=10).strip()
        try:
            tools.run([self._program, "--check", "--file", "-"], given=self._rules, seconds=10)
        except BrokenError as error:
            raise BrokenError(
                f"the kernel or {self._program} does not take the rules: they need nftables 1.0 and Linux 5.10; "
                f"or set the configuration key spoofing_rules to ebtables ({error.message})"
            ) from error
        return f"{version}, table {self._table}"

    def _known(self, prefix: str) -> list[Element]:
        return [element for element, port in _elements_of(self._listing()) if port.startswith(prefix)]

    def _lines(self, verb: str, chosen: Sequence[Element]) -> str:
        return "".join(f"{verb} element {self._table} {name} {{ {value} }}\n" for name, value in chosen)

    def _run(self, text: str) -> None:
        tools.run([self._program, "--file", "-"], given=text, seconds=20)

    def _listing(self) -> list[dict[str, Any]]:
        """Return the table's sets with their elements; none when there is no table."""
        try:
            text = tools.run([self._program, "-j", "list", "table", *self._table.split()], seconds=20)
        except BrokenError as error:
            if NOTHING in error.message:
                return []
            raise
        return [item["set"] for item in json.loads(text)["nftables"] if "set" in item]


def declaration(table: str) -> str:
    """Return the lines that make the table what it is to be, whatever it was, and leave its elements alone."""
    lines = [f"add table {table}"]
    lines += [f"add set {table} {name} {{ {kind}; }}" for name, kind in SETS.items()]
    for chain in CHAINS:
        hook = f" {{ type filter hook {HOOKS[chain]} priority -310; policy accept; }}" if chain in HOOKS else ""
        lines += [f"add chain {table} {chain}{hook}", f"flush chain {table} {chain}"]
    lines += [f"add rule {table} {chain} {rule}" for chain, rules in CHAINS.items() for rule in rules]
    return "".join(f"{line}\n" for line in lines)


def elements(port: Port) -> Iterator[Element]:
    """Yield what one NIC adds to the sets."""
    name, mac = f'"{port.name}"', port.mac.lower()
    yield "ports", name
    yield "macs", mac
    yield "hardware", f"{name} . {mac}"
    for address in (*port.addresses4, "0.0.0.0"):  # noqa: S104 - who asks whether an address is in use has none yet
        yield "arps", f"{name} . {mac} . {address}"
    for address in port.addresses4:
        yield "sources4", f"{name} . {address}"
    for address6 in port.addresses6:
        yield "sources6", f"{name} . {address6}"
        yield "targets6", f"{name} . {int(address6):#x}"
    for address in port.servers:
        yield ("servers6" if ":" in address else "servers4"), address
    for kind in KINDS:
        yield f"drops_{kind}", name


def _elements_of(listing: Sequence[Mapping[str, Any]]) -> list[tuple[Element, str]]:
    """Return every element with the port that it belongs to."""
    found: list[tuple[Element, str]] = []
    macs = {}
    for item in listing:
        for given in item.get("elem", []) if item["name"] not in SHARED else ():
            plain = given["elem"]["val"] if isinstance(given, dict) and "elem" in given else given
            parts = plain["concat"] if isinstance(plain, dict) else [plain]
            if item["name"] == "hardware":
                macs[parts[1]] = parts[0]
            if item["name"] != "macs":
                found.append(((item["name"], " . ".join([f'"{parts[0]}"', *parts[1:]])), parts[0]))
    return found + [(("macs", mac), port) for mac, port in macs.items()]

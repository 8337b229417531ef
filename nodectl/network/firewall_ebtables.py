"""The guard of the ports by ebtables, for sites whose nodes have nothing newer: a few chains for every port.

It keeps the same promises as ``firewall_nft`` but one: it cannot see whom neighbour discovery is about, so guests have
no IPv6 at all. What is one transaction there is one ``ebtables-restore`` for each of two tables here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.network.firewall import Drops, Port

CHAIN = re.compile(r"Bridge chain: (\S+), entries: \d+, policy: \S+\Z")
COUNTED = re.compile(r"(.*?)\s*, pcnt = (\d+) -- bcnt = \d+\Z")
UDP = "-p IPv4 --ip-proto udp"
UDP6 = "-p IPv6 --ip6-proto udp"
ARP = "-p ARP --arp-htype 1 --arp-ptype 0x800"
ND = "-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type"
TABLES = {  # where a port's chains stand: what a guest sends; its MAC from elsewhere; what it sends on; what it
    # gets; what this node answers it
    "nat": {"": "PREROUTING", "-x": "PREROUTING"},  # before the bridge learns a MAC
    "filter": {"-i": "FORWARD", "-o": "FORWARD", "-a": "OUTPUT"},
}
TAPS = "fl+"  # every port of a guest


def guest_rules(port: Port) -> list[tuple[str, str]]:
    """Return what a guest may send and may not, each rule with the kind it counts; "" where it lets through."""
    mac = port.mac.lower()
    return [
        (f"-s ! {mac}", "mac"),
        ("-p 802_1Q", "vlan"),
        ("-p 0x88a8", "vlan"),
        *((f"{ARP} --arp-mac-src {mac} --arp-ip-src {address}", "") for address in (*port.addresses4, "0.0.0.0")),  # noqa: S104
        ("-p ARP --arp-ip-src 169.254.0.0/16", "other"),
        ("-p ARP", "arp"),
        (f"{UDP} --ip-sport 67", "dhcp"),
        ("-p IPv4 --ip-proto 4", "ip"),
        ("-p IPv4 --ip-proto 41", "ip"),
        *((f"-p IPv4 --ip-src {address}", "") for address in port.addresses4),
        (f"{UDP} --ip-src 0.0.0.0 --ip-dst 255.255.255.255 --ip-sport 68 --ip-dport 67", ""),
        ("-p IPv4 --ip-src 0.0.0.0 --ip-proto 2", "other"),
        ("-p IPv4 --ip-src 169.254.0.0/16", "other"),
        ("-p IPv4", "ip"),
        (f"{ND} router-advertisement", "nd"),
        (f"{ND} redirect", "nd"),
        (f"{ND} neighbour-advertisement", "nd"),
        (f"{UDP6} --ip6-sport 547", "dhcp"),
        ("", "other"),
    ]


@dataclass
class Found:
    """What stands in one chain: its rules, and how often each was met."""

    rules: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


Chains = Mapping[str, Mapping[str, Found]]  # by table and name


class Ebtables:
    """Guards ports by chains of their own; ``mark`` tells one state directory's from another's."""

    def __init__(self, program: str, mark: str) -> None:
        self._program = program
        self._mark = mark

    def admit(self, prefix: str, ports: Sequence[Port]) -> None:
        """Guard a VM's ports from now on; see ``Firewall``. Raises BrokenError for one that has an IPv6 address."""
        if any(":" in address for port in ports for address in port.more):
            raise BrokenError(
                "ebtables cannot hold a guest to its IPv6 address: set the configuration key spoofing_rules to nft, "
                "or lease no NIC of a network with IPv6 on this node"
            )
        found = self._chains()
        old = [port for port in ports if not self._stands(port, found)]
        gone = {port.name for port in old} | self._ports(found, prefix) - {port.name for port in ports}
        for table in TABLES:
            lines = [line for name in sorted(gone) for line in self._removing(table, name, found)]
            self._restore(table, lines + [line for port in old for line in self._making(table, port)])

    def forget(self, prefix: str) -> None:
        """Remove the chains of a VM's ports."""
        found = self._chains()
        gone = sorted(self._ports(found, prefix))
        for table in TABLES:
            self._restore(table, [line for name in gone for line in self._removing(table, name, found)])

    def forget_all(self) -> None:
        """Remove every chain with our mark."""
        self.forget("")

    def dropped(self) -> Mapping[str, Drops]:
        """Return what the rules have counted."""
        guests = self._listed("nat")
        ports = self._ports({"nat": guests}, "")
        return {name: _counts(guests.get(self._chain(name), Found())) for name in ports}

    def check(self) -> str:
        """List what there is: programs that the kernel does not serve fail at that."""
        version = tools.run([self._program, "--version"], seconds=10).strip()
        try:
            self._chains()
        except BrokenError as error:
            raise BrokenError(
                f"the kernel does not take {self._program}'s rules: load the module ebtables, or set the "
                f"configuration key ebtables to a variant that works here, such as ebtables-nft ({error.message})"
            ) from error
        return f"{version}; guests have no IPv6"

    def _chain(self, port: str, role: str = "") -> str:
        return f"{port}-{self._mark}{role}"

    def _ports(self, found: Chains, prefix: str) -> set[str]:
        """Return the ports of which any chain is there."""
        ends = tuple(f"-{self._mark}{role}" for roles in TABLES.values() for role in roles)
        named = (
            name[: -len(end)] for chains in found.values() for name in chains for end in ends if name.endswith(end)
        )
        return {port for port in named if port.startswith(prefix)}

    def _contents(self, port: Port) -> dict[str, tuple[str, list[str]]]:
        """Return by role what leads to a port's chain, and the chain's rules."""
        come = [f"{UDP} --ip-dport 68", f"{UDP6} --ip6-dport 546", f"{ND} router-advertisement", "-p 802_1Q"]
        return {
            "": (f"-i {port.name}", [f"{rule} -j {'DROP' if kind else 'RETURN'}" for rule, kind in guest_rules(port)]),
            "-x": (f"{UDP} -s {port.mac.lower()} -i ! {port.name} --ip-dport 67", ["-j DROP"]),
            "-i": (f"-i {port.name}", [f"{UDP} --ip-dport 67 -j DROP"]),
            "-o": (f"-o {port.name}", [f"{rule} -j DROP" for rule in come]),
            "-a": (
                f"{UDP} -o ! {TAPS} --ip-sport 67",
                [f"-p IPv4 --ip-src {ip} -j DROP" for ip in port.servers if ":" not in ip],
            ),
        }

    def _making(self, table: str, port: Port) -> Iterator[str]:
        contents = self._contents(port)
        for role in TABLES[table]:
            yield f":{self._chain(port.name, role)} RETURN"
        for role, hook in TABLES[table].items():
            leads, rules = contents[role]
            yield from (f"-A {self._chain(port.name, role)} {rule}" for rule in rules)
            yield f"-A {hook} {leads} -j {self._chain(port.name, role)}"

    def _removing(self, table: str, port: str, found: Chains) -> Iterator[str]:
        chains = [chain for role in TABLES[table] if (chain := self._chain(port, role)) in found[table]]
        for hook in sorted(set(TABLES[table].values())):
            for rule in found[table][hook].rules:
                if _aim(rule) in chains:
                    yield f"-D {hook} {rule}"
        yield from (f"-F {chain}" for chain in chains)
        yield from (f"-X {chain}" for chain in chains)

    def _stands(self, port: Port, found: Chains) -> bool:
        """Tell whether a port is guarded as it should be, and for these very addresses."""
        own = found["nat"].get(self._chain(port.name), Found())
        text = "\n".join(own.rules)
        contents = self._contents(port)
        for table, roles in TABLES.items():
            for role, hook in roles.items():
                chain = self._chain(port.name, role)
                there = found[table].get(chain, Found())
                led = any(_aim(rule) == chain for rule in found[table][hook].rules)
                if not led or len(there.rules) != len(contents[role][1]):
                    return False
        return all(f" {word} " in text for word in (port.mac.lower(), *port.addresses4))

    def _restore(self, table: str, lines: Sequence[str]) -> None:
        if lines:
            text = "".join(f"{line}\n" for line in (f"*{table}", *lines))
            tools.run([f"{self._program}-restore", "--noflush"], given=text, seconds=20)

    def _chains(self) -> Chains:
        return {table: self._listed(table) for table in TABLES}

    def _listed(self, table: str) -> dict[str, Found]:
        found: dict[str, Found] = {hook: Found() for hook in TABLES[table].values()}
        current = Found()
        for line in tools.run([self._program, "-t", table, "-L", "--Lc", "--Lmac2"], seconds=20).splitlines():
            begin, counted = CHAIN.match(line), COUNTED.match(line)
            if begin:
                current = found.setdefault(begin.group(1), Found())
            elif counted:
                current.rules.append(counted.group(1))
                current.counts.append(int(counted.group(2)))
        return found


def _aim(rule: str) -> str:
    return rule.rsplit(" ", 1)[-1]


def _counts(own: Found) -> Drops:
    counts: dict[str, int] = {}
    others = (len(own.rules) - len(guest_rules(Port("", "", "")))) // 2  # an ARP and an IPv4 rule for each address
    kinds = [kind for _, kind in guest_rules(Port("", "", "", ("",) * others))]
    for kind, count in zip(kinds, own.counts):
        if kind and count:
            counts[kind] = counts.get(kind, 0) + count
    return counts

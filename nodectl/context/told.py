"""The context text read on the node: the members of the cluster, for files that every system has.

The text is the service's (one fact a line, ``workspace/context.py`` says which). Lines that are not understood are left
alone, for it may be newer than this node.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

LOCAL = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
NOTHING = "-"
LEAST_WORDS = 4  # of a member line: the word itself, name, roles, addresses


@dataclass(frozen=True)
class Member:
    """One machine of the cluster: its addresses with the host name that belongs to each."""

    name: str
    roles: tuple[str, ...]
    hosts: tuple[tuple[str, str], ...]


def members(context: str) -> Iterator[Member]:
    """Yield the members that a context text tells of."""
    for line in context.splitlines():
        words = line.split(" ")
        if words[0] == "member" and len(words) >= LEAST_WORDS:
            name, roles, addresses = words[1:LEAST_WORDS]
            yield _member(name, roles, addresses, [word.partition("=")[2] for word in words[LEAST_WORDS:]])


def hosts(context: str, hostname: str) -> str:
    """Return the text of ``/etc/hosts``: this machine itself, and every member by its addresses."""
    return LOCAL + own_hosts(context, hostname)


def own_hosts(context: str, hostname: str) -> str:
    """Return what stands in ``/etc/hosts`` besides what every system has there."""
    lines = [line for member in members(context) for line in _lines(member)]
    known = {name for line in lines for name in line.split()[1:]}
    if hostname and hostname not in known:
        lines.insert(0, f"127.0.1.1 {hostname}")
    return "".join(f"{line}\n" for line in lines)


def _lines(member: Member) -> Iterator[str]:
    for number, (address, host) in enumerate(member.hosts):
        names = dict.fromkeys((host, member.name) if number == 0 else (host,))
        yield " ".join((address, *names))


def _member(name: str, roles: str, addresses: str, names: list[str]) -> Member:
    found = [address for address in addresses.split(",") if _is_address(address)]
    hosts = [names[min(number, len(names) - 1)] if names else name for number in range(len(found))]
    return Member(name, () if roles == NOTHING else tuple(roles.split(",")), tuple(zip(found, hosts)))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

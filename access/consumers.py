"""Where a policy lets its members have notifications sent: hosts by their names, and networks. Pure.

It comes on top of the site's own rules, so the narrower of both counts. A network speaks of consumers that are named by
their numeric addresses, a pattern of those that have a name: what a name stands for is its owner's to change, after it
was looked up as well, so an address that was found would be no promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from re import compile as pattern
from typing import Final

from flyinglow.access.decision import Allow, Deny
from flyinglow.access.policy import Policy

_HOST: Final = pattern(r"[A-Za-z0-9*?_.-]*[A-Za-z*?][A-Za-z0-9*?_.-]*")
_NUMBERS: Final = pattern(r"[0-9*?.]*[0-9.][0-9*?.]*")  # 10.1.* looks like addresses, and would be a name's beginning


def fault(entry: str) -> str | None:
    """Say what is wrong with an entry of ``consumers``; None: nothing."""
    if _network(entry) is not None or (_HOST.fullmatch(entry) and not _NUMBERS.fullmatch(entry)):
        return None
    return f"{entry!r} is neither a network (10.1.0.0/16) nor a host's name (notices.example, *.example)"


def may_name(policy: Policy | None, host: str) -> Allow | Deny:
    """Say whether ``policy`` lets a ConsumerReference name this host (as a URL has it, IPv6 without brackets)."""
    if policy is None or policy.consumers is None or _fits(policy.consumers, host):
        return Allow()
    there = ", ".join(policy.consumers) or "none"
    named = " and ".join(policy.names) or "none"
    hint = "" if _address(host) is not None or not any(_networks(policy.consumers)) else _HINT
    return Deny(f"the policy {named} does not allow the consumer host {host!r} (it allows: {there}{hint})")


_HINT: Final = "; networks are for numeric addresses"


def _fits(allowed: tuple[str, ...], host: str) -> bool:
    address = _address(host)
    if address is not None:
        return any(address.version == each.version and address in each for each in _networks(allowed))
    name = host.lower().removesuffix(".")
    return any(_network(entry) is None and fnmatchcase(name, entry.lower().removesuffix(".")) for entry in allowed)


def _networks(allowed: tuple[str, ...]) -> Iterator[IPv4Network | IPv6Network]:
    return (found for entry in allowed if (found := _network(entry)) is not None)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None

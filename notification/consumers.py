"""Where notifications may be sent: the check of a ConsumerReference's address.

A subscriber names an address and the service then posts to it, so the address is hostile until shown otherwise
(server-side request forgery). A name is resolved once, every address it stands for is judged, and who connects later
connects to an address judged here, never to the name. Nothing here opens a connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from flyinglow.nodectl.errors import DeniedError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Turn (host, port) into numeric addresses, best first; blocks; raises OSError."""

LONGEST = 2048
"""Characters of the longest address taken."""

# Ports of services that take commands as plain lines, which an HTTP request could be made to look like.
LINE_PORTS = frozenset(
    {1, 7, 9, 13, 19, 20, 21, 22, 23, 25, 37, 43, 53, 69, 79, 110, 111, 113, 119, 123, 135, 139, 143, 161, 179, 389}
    | {445, 465, 512, 513, 514, 515, 587, 601, 636, 873, 993, 995, 2049, 3306, 5060, 5061, 5432, 6000, 6379, 6667}
    | {9100, 11211, 27017},
)

# Where clouds answer questions about the machine itself, with its secrets; most lie in the link-local range anyway.
METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)

# IPv6 addresses that carry an IPv4 address within: a way round every rule made for IPv4.
CARRIERS: tuple[Network, ...] = tuple(
    ip_network(text) for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)


class RefusedError(DeniedError):
    """Notifications are not sent to this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerPolicy:
    """Which consumers are allowed (configuration).

    ``allow_loopback`` is for a service whose clients run beside it. ``networks`` are the private ranges in which
    consumers may be; public addresses are allowed unless ``public`` is off. ``denied_ports`` come on top of the ports
    of line-based services: the service's own listeners belong here. ``schemes`` leaves https out where TLS is missing.
    """

    allow_loopback: bool = False
    networks: tuple[Network, ...] = ()
    public: bool = True
    denied_ports: frozenset[int] = frozenset()
    schemes: frozenset[str] = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A consumer's address after the check; ``address`` is the one numeric address to connect to."""

    scheme: str
    host: str
    port: int
    address: Address


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Blocks; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


_PLAIN = frozenset({int(IPv6Address("::")), int(IPv6Address("::1"))})
"""Addresses in the range of those that carry an IPv4 address, and that do not."""


def judge(address: Address, policy: ConsumerPolicy) -> str | None:
    """Say why nothing is sent to a numeric address, or None when it is allowed."""
    # by value: since Python 3.13 the properties of ::ffff:127.0.0.1 are those of the IPv4 address that it carries
    if isinstance(address, IPv6Address) and int(address) not in _PLAIN:
        if address.scope_id is not None:
            return "is bound to one link"
        if any(address in network for network in CARRIERS):
            return "carries an IPv4 address within an IPv6 address"
    if address in METADATA:
        return "is a metadata service"
    if address.is_loopback:
        return None if policy.allow_loopback else "is this machine itself (loopback)"
    for refused, why in (
        (address.is_unspecified, "is the unspecified address"),
        (address.is_multicast, "is a multicast address"),
        (address.is_link_local, "is link-local"),
    ):
        if refused:
            return why
    if any(address.version == network.version and address in network for network in policy.networks):
        return None
    if not address.is_global or address.is_reserved:
        return "is in a private or reserved range that the site has not allowed"
    return None if policy.public else "is outside the networks that the site has allowed"


@dataclass(frozen=True, slots=True)
class Consumers:
    """The check itself: a policy and a resolver."""

    policy: ConsumerPolicy
    resolver: Resolver = resolve

    def check(self, url: str) -> Target:
        """Return what to connect to for this ConsumerReference address.

        Blocks while a name is resolved. Raises RefusedError, with the reason.
        """
        parts = _split(url, self.policy)
        host = parts.hostname or ""
        return self.locate(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))

    def locate(self, scheme: str, host: str, port: int) -> Target:
        """Resolve and judge a host; the check to repeat at every new connection. Blocks; raises RefusedError."""
        if port in LINE_PORTS or port in self.policy.denied_ports:
            raise RefusedError(f"notifications are not sent to port {port}")
        addresses = [_numeric(text, host) for text in self._resolved(host, port)]
        if not addresses:
            raise RefusedError(f"the consumer's host {host!r} has no address")
        for address in addresses:
            reason = judge(address, self.policy)
            if reason is not None:
                raise RefusedError(f"notifications are not sent to {host!r}: {address} {reason}")
        return Target(scheme=scheme, host=host, port=port, address=addresses[0])

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass  # a name
        try:
            return self.resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise RefusedError(f"the consumer's host {host!r} cannot be resolved") from error


def _numeric(text: str, host: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise RefusedError(f"the consumer's host {host!r} resolves to {text!r}, which is no address") from error


def _split(url: str, policy: ConsumerPolicy) -> SplitResult:
    if len(url) > LONGEST:
        raise RefusedError(f"the consumer's address is longer than {LONGEST} characters")
    if not url.isascii() or any(character <= " " or character in '\\<>"\x7f' for character in url):
        raise RefusedError("the consumer's address has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"the consumer's address {url!r} is not a URL") from error
    if parts.scheme not in policy.schemes:
        allowed = " or ".join(sorted(policy.schemes))
        raise RefusedError(f"notifications are sent by {allowed}, not by {parts.scheme or 'no scheme'!r}")
    if not parts.hostname:
        raise RefusedError(f"the consumer's address {url!r} names no host")
    if "@" in parts.netloc:
        raise RefusedError("the consumer's address carries credentials")
    if port == 0:
        raise RefusedError("notifications are not sent to port 0")
    return parts

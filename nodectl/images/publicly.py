"""Connections to public addresses only: what a stranger's URI names is not to be something of the site's own network.

A name is looked up once, and what was seen to be public is what is connected to: an answer that changes in between
leads nowhere.
"""

from __future__ import annotations

import ipaddress
import socket

from flyinglow.nodectl.errors import DeniedError, TransientError

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # these lead to the IPv4 address in their last four bytes


def is_public(number: str) -> bool:
    """Tell whether an IP address is one of the Internet's, whatever it is wrapped in. Raises ValueError for none."""
    found = ipaddress.ip_address(number.partition("%")[0])
    wrapped = None
    if isinstance(found, ipaddress.IPv6Address):
        wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in NAT64:
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    plain = found.is_global and not found.is_multicast and not found.is_reserved
    if isinstance(found, ipaddress.IPv6Address) and found.is_site_local:
        plain = False
    return (plain or wrapped is not None) and (wrapped is None or (wrapped.is_global and not wrapped.is_multicast))


def address_of(host: str, port: int) -> str:
    """Look a host up and return its number.

    Raises DeniedError unless all its numbers are public, TransientError where it has none.
    """
    try:
        found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:  # the latter for a name that no name server could be asked for
        raise TransientError(f"{host} is not to be found: {getattr(error, 'strerror', None) or error}") from error
    for number in found:
        if not is_public(number):
            raise DeniedError(
                f"{host} is {number}, which is no public address: images by URI come from there only if the site names "
                f"that host (configuration key image_uri.hosts)"
            )
    return found[0]


def connect(
    address: tuple[str, int], timeout: float | None = None, source_address: tuple[str, int] | None = None
) -> socket.socket:
    """Do what ``socket.create_connection`` does, to public addresses only. Raises as ``address_of``, or OSError."""
    host, port = address
    return socket.create_connection((address_of(host, port), port), timeout, source_address)

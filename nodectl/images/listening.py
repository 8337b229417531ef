"""At which address a node listens for the others of a launch set: as configured, whole sites in the same words."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

from flyinglow.nodectl.errors import BrokenError, InvalidError

HIGHEST = 65535 - 15  # sixteen ports, for the agents of a node with several slots
IPV6 = 6


def check_peers(address: object, port: object) -> None:
    """Raise InvalidError for what is neither empty, nor an address, nor a network; or for what is no port."""
    try:
        if address:
            ipaddress.ip_interface(address if isinstance(address, str) else "")
    except ValueError as error:
        raise InvalidError(
            f"configuration key peer_address must be an address or a network in numbers, not {address!r}"
        ) from error
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= HIGHEST:
        raise InvalidError(f"configuration key peer_port must be a whole number up to {HIGHEST}, not {port!r}")


def own_address(text: str) -> str:
    """Return this node's own address: ``text``, or the one that it has in the network that ``text`` is.

    Raises BrokenError when it has none there.
    """
    if "/" not in text:
        return text
    network = ipaddress.ip_network(text, strict=False)
    there = str(network.network_address + 1)
    family = socket.AF_INET6 if network.version == IPV6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((there, 9))  # sends nothing: it asks from which address one would
        here = str(probe.getsockname()[0])
        if ipaddress.ip_address(here) in network:
            return here
    raise BrokenError(f"this node has no address in {text} (configuration key peer_address)")


def possible(text: str) -> str:
    """Say where this node would listen. Raises BrokenError when it cannot."""
    here = own_address(text)
    try:
        with socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET) as trial:
            trial.bind((here, 0))
    except OSError as error:
        raise BrokenError(f"{here} is no address of this node (configuration key peer_address)") from error
    return f"other nodes get images at {here}"

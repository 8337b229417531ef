"""Give a bridge its network's VLAN as a wire: the tagged interface, made when it is wanted and removed with the rest.

The site makes the bridge and gives it an address, as any other; ``vlans`` in the node's configuration says which VLAN
of which interface it stands for. Guests see and send untagged frames only.
"""

from __future__ import annotations

import socket

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError

ALIAS = "flyinglow"  # by which an interface of our making is told from the site's own


def commands(wire: str, bridge: str) -> str:
    """Return the lines for ``ip -batch`` that make ``LINK.ID`` a port of a bridge."""
    link, _, number = wire.rpartition(".")
    return (
        f"link add link {link} name {wire} type vlan id {number}\n"
        f"link set dev {wire} alias {ALIAS}\n"
        f"link set dev {wire} addrgenmode none\n"
        f"link set dev {wire} master {bridge}\n"
        f"link set dev {wire} up\n"
    )


def ensure(config: Config, bridge: str) -> None:
    """Make the wire of a bridge that has one, unless it is there; the caller holds the networks' lock.

    Raises BrokenError when it cannot be made.
    """
    wire = config.vlans.get(bridge)
    if wire is None or wire in _interfaces():
        return
    link = wire.rpartition(".")[0]
    if link not in _interfaces():
        raise BrokenError(f"bridge {bridge} is to be VLAN {wire}, and there is no interface {link} (key vlans)")
    try:
        tools.run([config.ip, "-batch", "-"], given=commands(wire, bridge))
    except BrokenError as error:
        if wire in _interfaces():
            tools.run([config.ip, "link", "delete", "dev", wire])  # half made
        raise BrokenError(f"VLAN {wire} for bridge {bridge} cannot be made (module 8021q?): {error.message}") from error


def remove(config: Config) -> None:
    """Remove the wires that we made; those of the site stay."""
    for wire in sorted(set(config.vlans.values()) & _interfaces()):
        if f"alias {ALIAS}" in tools.run([config.ip, "link", "show", "dev", wire]):
            tools.run([config.ip, "link", "delete", "dev", wire])


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}

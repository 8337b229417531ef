"""Give a bridge its network's VLAN as a wire: the tagged interface, made when it is wanted and removed with the rest.

The site makes the bridge and gives it an address, as any other. Which VLAN of which interface it stands for say the
node's configuration (``vlans``, one bridge each, or ``trunk``, which carries all) and the service, for whom a network
is the same VLAN on every node: where the two differ nothing is connected. Guests know nothing of it, and see and send
untagged frames only.
"""

from __future__ import annotations

import re
import socket

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import NicSpec

ALIAS = "flyinglow"  # by which an interface of our making is told from the site's own
PORT = re.compile(r"^\d+: ([^@:\s]+)", re.MULTILINE)
NUMBER = re.compile(r"\.([1-9][0-9]{0,3})\Z")


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


def wire_of(config: Config, bridge: str, vlan: int | None) -> str | None:
    """Return the tagged interface that is to be a bridge's wire; None: the site sees to it.

    Raises BrokenError when the node and the service speak of different VLANs.
    """
    wire = config.vlans.get(bridge)
    if vlan is None:
        return wire
    if wire is None and config.trunk:
        wire = f"{config.trunk}.{vlan}"
    if wire is not None and wire.rpartition(".")[2] != str(vlan):
        raise BrokenError(
            f"the network is VLAN {vlan}, and bridge {bridge} on node {config.node} is VLAN {wire} "
            f"(configuration key vlans)"
        )
    return wire


def ensure(config: Config, bridge: str, nic: NicSpec) -> None:
    """Make the wire of a bridge that has one, unless it is there; the caller holds the networks' lock.

    Raises BrokenError when it cannot be made, or when a NIC's VLAN is not the bridge's.
    """
    wire = wire_of(config, bridge, nic.vlan)
    if nic.vlan is not None:
        _check_ports(config, bridge, nic.vlan, needed=wire is None)
    if wire is None or wire in _interfaces():
        return
    link = wire.rpartition(".")[0]
    if link not in _interfaces():
        raise BrokenError(
            f"bridge {bridge} is to be VLAN {wire}, and there is no interface {link} (keys vlans and trunk)"
        )
    try:
        tools.run([config.ip, "-batch", "-"], given=commands(wire, bridge))
    except BrokenError as error:
        if wire in _interfaces():
            tools.run([config.ip, "link", "delete", "dev", wire])  # half made
        raise BrokenError(f"VLAN {wire} for bridge {bridge} cannot be made (module 8021q?): {error.message}") from error


def remove(config: Config) -> None:
    """Remove the wires that we made; those of the site stay."""
    ours = set(config.vlans.values())
    found = {name for name in _interfaces() if name in ours or (config.trunk and name.startswith(f"{config.trunk}."))}
    for wire in sorted(found):
        if f"alias {ALIAS}" in tools.run([config.ip, "link", "show", "dev", wire]):
            tools.run([config.ip, "link", "delete", "dev", wire])


def _check_ports(config: Config, bridge: str, vlan: int, *, needed: bool) -> None:
    """Refuse a bridge that is, by its ports' names, another VLAN; and one of which nothing can be told, if needed."""
    ports = PORT.findall(tools.run([config.ip, "-oneline", "link", "show", "master", bridge]))
    numbers = {found.group(1) for found in map(NUMBER.search, ports) if found and not found.string.startswith("fl")}
    if numbers - {str(vlan)} or (needed and not numbers):
        has = f"it is VLAN {', '.join(sorted(numbers))}" if numbers else "none of its ports is named INTERFACE.N"
        raise BrokenError(
            f"the network is VLAN {vlan}, and bridge {bridge} on node {config.node} does not say so: {has}; "
            f"name the interface that carries VLANs (configuration key trunk), or its wire (key vlans)"
        )


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}

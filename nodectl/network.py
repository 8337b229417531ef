"""Connect a VM's NICs to the node's bridges, one tap a NIC, and disconnect them without a trace.

A tap is called ``fl<tag>.<n>``, so that it tells whose it is, and belongs to the VM from its creation to its
destruction. A NIC without a bridge is the hypervisor's business (``hypervisor.commandline``) and needs nothing here.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from pathlib import Path
from typing import Protocol

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.dhcp import Dhcp, network_of
from flyinglow.nodectl.errors import BrokenError, DeniedError
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.trust import is_root
from flyinglow.nodectl.vmdir import StateDir


class Networks(Protocol):
    """What connects the NICs of VMs."""

    def attach(self, spec: VmSpec) -> None:
        """Connect every NIC of ``spec``. May be repeated. Raises BrokenError or DeniedError."""

    def detach(self, tag: str) -> None:
        """Disconnect all NICs of a VM, whatever is known of it. May be repeated."""

    def detach_all(self) -> None:
        """Disconnect every VM, and end what serves them together."""


def tap_name(tag: str, number: int) -> str:
    """Return the name of a NIC's tap: at most 15 characters for every tag and number that are allowed."""
    return f"fl{tag}.{number}"


def tap_commands(tap: str, bridge: str, user: str | None = None) -> str:
    """Return the lines for ``ip -batch`` that make a tap a port of a bridge."""
    owner = f" user {user}" if user else ""
    return (
        f"tuntap add dev {tap} mode tap{owner}\n"
        f"link set dev {tap} addrgenmode none\n"
        f"link set dev {tap} master {bridge}\n"
        f"link set dev {tap} up\n"
    )


def hostname_of(spec: VmSpec) -> str:
    """Return the one name that a guest is told by all of its NICs."""
    return spec.hostname or (spec.nics[0].hostname if spec.nics else spec.tag)


class BridgeNetworks:
    """Taps on the bridges of this network namespace, and a DHCP delivery for each bridge."""

    def __init__(self, config: Config, state: StateDir) -> None:
        self._config = config
        self._state = state
        self._folder = config.run / "dhcp"

    def attach(self, spec: VmSpec) -> None:
        """Connect every NIC of ``spec``. May be repeated. Raises BrokenError or DeniedError."""
        self._state.prepare_run()
        for number, nic in enumerate(spec.nics):
            if nic.bridge is not None:
                self._attach(tap_name(spec.tag, number), nic, nic.bridge, hostname_of(spec))

    def detach(self, tag: str) -> None:
        """Disconnect all NICs of a VM, whatever is known of it. May be repeated."""
        prefix = tap_name(tag, 0)[:-1]
        for _, name in socket.if_nameindex():
            if name.startswith(prefix):
                self._delete(name)
        for bridge in self._bridges():
            self._forget(bridge, prefix)

    def detach_all(self) -> None:
        """End the DHCP delivery of every bridge, and remove the taps it served, all at once."""
        for bridge in self._bridges():
            with self._state.locked(_lock_name(bridge)):
                taps = set(self._dhcp(bridge).names()) & _interfaces()
                self._dhcp(bridge).remove_all()
                if taps:
                    commands = "".join(f"link delete dev {tap}\n" for tap in sorted(taps))
                    tools.run([self._config.ip, "-force", "-batch", "-"], given=commands)

    def _attach(self, tap: str, nic: NicSpec, bridge: str, hostname: str) -> None:
        if not self._config.allows_bridge(bridge):
            raise DeniedError(
                f"VMs may not use bridge {bridge} on node {self._config.node}: "
                f"it is not listed (configuration key bridges)"
            )
        if not is_root():
            raise BrokenError(f"NIC {nic.mac}: only root can connect a VM to bridge {bridge}; leave the bridge out")
        self._check_bridge(bridge, nic)
        if tap not in _interfaces():
            self._make(tap, bridge)
        with self._state.locked(_lock_name(bridge)):
            self._dhcp(bridge).add(tap, nic, hostname)

    def _make(self, tap: str, bridge: str) -> None:
        try:
            tools.run([self._config.ip, "-batch", "-"], given=tap_commands(tap, bridge, self._config.run_as))
        except BrokenError:
            self._delete(tap)
            raise

    def _delete(self, tap: str) -> None:
        if tap in _interfaces():
            tools.run([self._config.ip, "link", "delete", "dev", tap])

    def _forget(self, bridge: str, prefix: str) -> None:
        with self._state.locked(_lock_name(bridge)):
            dhcp = self._dhcp(bridge)
            for name in dhcp.names():
                if name.startswith(prefix):
                    dhcp.remove(name)

    def _check_bridge(self, bridge: str, nic: NicSpec) -> None:
        network = network_of(nic)
        addresses = bridge_addresses(self._config.ip, bridge)
        if not any(address in network for address in addresses):
            raise BrokenError(
                f"bridge {bridge} has no address in {network}, from which guests could be given theirs: "
                f"give it one that no pool contains"
            )

    def _bridges(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def _dhcp(self, bridge: str) -> Dhcp:
        return Dhcp(bridge, Path(self._folder / bridge), self._config.dnsmasq)


def bridge_addresses(ip: str, bridge: str) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses of a bridge. Raises BrokenError when there is no such bridge."""
    try:
        text = tools.run([ip, "-json", "-details", "address", "show", "dev", bridge])
    except BrokenError as error:
        raise BrokenError(f"there is no bridge {bridge} on this node ({error.message})") from error
    found = json.loads(text)[0]
    if found.get("linkinfo", {}).get("info_kind") != "bridge":
        raise BrokenError(f"{bridge} is not a bridge")
    return [ipaddress.IPv4Address(item["local"]) for item in found["addr_info"] if item["family"] == "inet"]


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _lock_name(bridge: str) -> str:
    return f"bridge:{bridge}"

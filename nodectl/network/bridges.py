"""Connect a VM's NICs to the node's bridges, one tap a NIC, and disconnect them without a trace.

A tap is called ``fl<tag>.<n>``, so that it tells whose it is, and belongs to the VM from its creation to its
destruction. Before there is a tap there are the rules that hold it to its addresses (``firewall``), and they go after
it. A NIC without a bridge is the hypervisor's business (``hypervisor.commandline``) and needs nothing here.

Everything is done under one lock, which is held for milliseconds: what two VMs share on a node (dnsmasq, the rules, the
list of MACs that are taken) is nobody's alone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.crew import side_by_side
from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network import vlan as network_vlan
from flyinglow.nodectl.network.dhcp import Dhcp
from flyinglow.nodectl.network.firewall import Drops, Firewall
from flyinglow.nodectl.network.firewall_choice import firewall_of
from flyinglow.nodectl.network.ports import (
    STATIC,
    Address,
    Bridged,
    bridge_addresses,
    bridged,
    check_bridge,
    ports,
    prefix_of,
)
from flyinglow.nodectl.trust import is_root
from flyinglow.nodectl.vmdir import StateDir

LOCK = "networks"
JUST_NOW = 20.0  # seconds after which what was connected is looked at again
FRESH = 1.0  # seconds for which counters that were read are good enough


class Networks(Protocol):
    """What connects the NICs of VMs."""

    def attach(self, spec: VmSpec) -> None:
        """Connect every NIC of ``spec``. May be repeated. Raises BrokenError or DeniedError."""

    def detach(self, tag: str) -> None:
        """Disconnect all NICs of a VM, whatever is known of it. May be repeated."""

    def detach_all(self) -> None:
        """Disconnect every VM, and end what serves them together."""

    def guard(self, spec: VmSpec) -> bool:
        """Make the rules of a running VM anew where somebody else removed them; tell whether that was so."""

    def dropped(self, tag: str) -> dict[str, dict[str, int]]:
        """Return how many packets of a VM were stopped, by NIC's number and kind (``firewall.KINDS``).

        Empty where nothing was, or nothing is known.
        """


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


@dataclass
class Reading:
    """The counters of all ports as they were read last, and when."""

    at: float = float("-inf")
    drops: Mapping[str, Drops] = field(default_factory=dict)


class BridgeNetworks:
    """Guarded taps on the bridges of this network namespace, and a DHCP delivery for each bridge."""

    def __init__(
        self,
        config: Config,
        state: StateDir,
        *,
        taps: bool = True,
        firewall: Firewall | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``taps`` False: the hypervisor makes the ports itself, under the names of taps, and removes them."""
        self._config = config
        self._state = state
        self._taps = taps
        self._folder = config.run / "dhcp"
        self._firewall = firewall_of(config) if firewall is None else firewall
        self._clock = clock
        self._reading = Reading()
        self._fresh: dict[str, tuple[VmSpec, float]] = {}  # what was connected just now, for the start that follows

    def attach(self, spec: VmSpec) -> None:
        """Connect every NIC of ``spec``. May be repeated. Raises BrokenError, ConflictError or DeniedError."""
        self._state.prepare_run()
        nics = list(bridged(spec))
        for _, nic, bridge in nics:
            self._check(nic, bridge)
        if not nics:
            return
        if self._is_fresh(spec, {tap for tap, _, _ in nics}):
            self._reading = Reading()  # as they are now: no guest runs without its rules
            self.guard(spec)
            return
        servers = self._servers(nics)
        for _, nic, bridge in nics:
            check_bridge(nic, bridge, servers[bridge])
        with self._state.locked(LOCK):
            self._check_macs(spec.tag, [nic for _, nic, _ in nics])
            for _, _, bridge in nics:
                (self._folder / bridge).mkdir(mode=0o755, parents=True, exist_ok=True)  # tells that there is something
            self._firewall.admit(prefix_of(spec.tag), ports(nics, servers))
            for tap, nic, bridge in nics:
                network_vlan.ensure(self._config, bridge, nic)
                if self._taps and tap not in _interfaces():
                    self._make(tap, bridge)
                if nic.delivery == STATIC:
                    self._dhcp(bridge).write_down(tap, nic)
                else:
                    self._dhcp(bridge).add(tap, nic, hostname_of(spec), servers[bridge])
        self._fresh[spec.tag] = spec, self._clock()

    def _is_fresh(self, spec: VmSpec, taps: set[str]) -> bool:
        """Say, once, whether exactly this was connected a moment ago: a start follows a creation."""
        known, at = self._fresh.pop(spec.tag, (None, 0.0))
        return known == spec and self._clock() - at < JUST_NOW and self._taps and taps <= _interfaces()

    def detach(self, tag: str) -> None:
        """Disconnect all NICs of a VM, whatever is known of it. May be repeated."""
        self._fresh.pop(tag, None)
        prefix = prefix_of(tag)
        if not (self._bridges() or (self._config.bridges and is_root())):  # rules may outlive what tells of them
            self._take_down(prefix)
            return
        with self._state.locked(LOCK):
            shared = [bridge for bridge in self._bridges() if self._serves_others(bridge, prefix)]
            parts: list[Callable[[], None]] = [lambda: self._unguard(prefix), lambda: self._forget(shared, prefix)]
            side_by_side(_do, parts, len(parts))
            self._forget(self._bridges(), prefix)  # last: a bridge's folder says that there may be something left

    def detach_all(self) -> None:
        """End the DHCP delivery of every bridge, and remove the taps it served and all rules."""
        bridges = self._bridges()
        with self._state.locked(LOCK):
            for bridge in bridges:
                taps = set(self._dhcp(bridge).names())
                self._dhcp(bridge).remove_all()
                self._remove(taps & _interfaces())
            if is_root():
                self._firewall.forget_all()
            network_vlan.remove(self._config)

    def guard(self, spec: VmSpec) -> bool:
        """Make the rules of a running VM anew where somebody else removed them, such as a site's own firewall."""
        nics = list(bridged(spec))
        if not nics or self._config.spoofing_rules == "off" or {tap for tap, _, _ in nics} <= set(self._drops()):
            return False
        with self._state.locked(LOCK):
            self._firewall.admit(prefix_of(spec.tag), ports(nics, self._servers(nics)))
            self._reading = Reading()
        return True

    def dropped(self, tag: str) -> dict[str, dict[str, int]]:
        """Return how many packets of a VM were stopped, by NIC and kind; empty where the counters cannot be read."""
        if not self._bridges():
            return {}
        try:
            found = self._drops()
        except BrokenError:
            return {}
        prefix = prefix_of(tag)
        return {name[len(prefix) :]: dict(drops) for name, drops in found.items() if name.startswith(prefix) and drops}

    def _drops(self) -> Mapping[str, Drops]:
        if self._clock() - self._reading.at > FRESH:
            self._reading = Reading(self._clock(), self._firewall.dropped())
        return self._reading.drops

    def _check(self, nic: NicSpec, bridge: str) -> None:
        if not self._config.allows_bridge(bridge):
            raise DeniedError(
                f"VMs may not use bridge {bridge} on node {self._config.node}: "
                f"it is not listed (configuration key bridges)"
            )
        if not is_root():
            raise BrokenError(f"NIC {nic.mac}: only root can connect a VM to bridge {bridge}; leave the bridge out")

    def _servers(self, nics: Iterable[Bridged]) -> dict[str, list[Address]]:
        return {bridge: bridge_addresses(self._config.ip, bridge) for bridge in {at for _, _, at in nics}}

    def _check_macs(self, tag: str, nics: Iterable[NicSpec]) -> None:
        """Raise ConflictError when another VM of this node has a MAC already, on whatever bridge."""
        wanted = {nic.mac.lower() for nic in nics}
        for bridge in self._bridges():
            for name, mac in self._dhcp(bridge).macs().items():
                if mac in wanted and not name.startswith(prefix_of(tag)):
                    raise ConflictError(f"MAC address {mac} is that of another VM on this node ({name})")

    def _make(self, tap: str, bridge: str) -> None:
        try:
            tools.run([self._config.ip, "-batch", "-"], given=tap_commands(tap, bridge, self._config.run_as))
        except BrokenError:
            self._remove({tap} & _interfaces())
            raise

    def _remove(self, taps: set[str]) -> None:
        if taps and self._taps:
            commands = "".join(f"link delete dev {tap}\n" for tap in sorted(taps))
            tools.run([self._config.ip, "-force", "-batch", "-"], given=commands)

    def _take_down(self, prefix: str) -> None:
        self._remove({name for name in _interfaces() if name.startswith(prefix)})

    def _unguard(self, prefix: str) -> None:
        """Remove the taps of a VM, and then the rules that held them to their addresses."""
        self._take_down(prefix)
        self._firewall.forget(prefix)

    def _serves_others(self, bridge: str, prefix: str) -> bool:
        return any(not name.startswith(prefix) for name in self._dhcp(bridge).names())

    def _forget(self, bridges: Iterable[str], prefix: str) -> None:
        for bridge in bridges:
            dhcp = self._dhcp(bridge)
            for name in dhcp.names():
                if name.startswith(prefix):
                    dhcp.remove(name)
            if not dhcp.names():
                dhcp.remove_all()

    def _bridges(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def _dhcp(self, bridge: str) -> Dhcp:
        return Dhcp(bridge, Path(self._folder / bridge), self._config.dnsmasq)


def _do(part: Callable[[], None]) -> None:
    part()


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}

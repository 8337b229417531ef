"""Find what runs or stands on this node for VMs that have no directory any more, by the marks that all of ours bears.

A VM's directory is there before anything else of it, and goes last. So what is seen without one, twice, is nobody's:
somebody removed the directory, or lost the disk it was on. It is known by its mark alone: a QEMU process and a dnsmasq
by their arguments, a domain by name and UUID, a tap, a DHCP entry and a rule by the name of the port.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.nodectl.hypervisor.mark import PREFIX
from flyinglow.nodectl.hypervisor.qemu_process import belonging
from flyinglow.nodectl.network.bridges import LOCK
from flyinglow.nodectl.network.dhcp import Dhcp
from flyinglow.nodectl.network.firewall_choice import firewall_of
from flyinglow.nodectl.network.ports import prefix_of
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.trust import is_root
from flyinglow.nodectl.vmdir import ProcessMark, StateDir

FIX = "flyinglow-nodectl tidy ends and removes what is nobody's"
PORT = re.compile(r"fl([a-z][a-z0-9]{0,9})\.\d{1,2}\Z")  # see ``ports.tap_name``
INTERFACES = Path("/sys/class/net")
CONFIGURED = "--conf-file="


@dataclass(frozen=True)
class Stranger:
    """Something of ours that no directory answers for. ``tag`` is empty where it is no one VM's."""

    tag: str
    what: str
    process: ProcessMark | None = None

    @property
    def words(self) -> str:
        """What people are told."""
        whose = f"is of VM {self.tag}, which has no directory that knows of it" if self.tag else "serves no VM"
        return f"{self.what} {whose}"


def found(config: Config, *, running: bool = True) -> list[Stranger]:
    """Return what is nobody's, by tag; ``running`` False: but for what the hypervisor has running. Changes nothing.

    Raises BrokenError when the hypervisor cannot be asked.
    """
    state = StateDir(config.state, config.run, config.run_as)
    first = {one for one in _seen(config, state, running) if _is_nobodys(state, one)}
    again = first.intersection(_seen(config, state, running)) if first else set()  # the rest was just being removed
    return sorted(again, key=lambda one: (one.tag, one.what))


def remove(config: Config, node: Node, *, running: bool = True) -> tuple[list[str], list[str]]:
    """End and remove what is nobody's, and nothing else; return words for what is gone, and for what resists."""
    strangers = found(config, running=running)
    failed = []
    for tag in dict.fromkeys(one.tag for one in strangers):
        try:
            if tag:
                _remove(config, node, tag, [one for one in strangers if one.tag == tag])
            else:
                processes.end_all([one.process for one in strangers if one.process and not one.tag])
        except FlyingLowError as error:
            failed.append(f"{tag}: {error.message}" if tag else error.message)
    left = set(found(config, running=running)) if strangers else set()
    failed += [one.words for one in strangers if one in left]
    return [one.words for one in strangers if one not in left], failed


def _remove(config: Config, node: Node, tag: str, strangers: list[Stranger]) -> None:
    with node.state.locked(tag):
        vm = node.state.vm(tag)
        if vm.exists():  # it has a directory: only the processes that this does not know of go
            processes.end_all([one.process for one in strangers if one.process])
            return
        node.hypervisor.destroy(vm)
        node.networks.detach(tag)
        if is_root() and any(one.process is None for one in strangers):
            with node.state.locked(LOCK):
                firewall_of(config).forget(prefix_of(tag))


def _is_nobodys(state: StateDir, one: Stranger) -> bool:
    if not one.tag:
        return not state.is_locked(LOCK)
    vm = state.vm(one.tag)
    if not vm.exists():
        return True
    if one.process is None or state.is_locked(one.tag):
        return False
    with contextlib.suppress(BrokenError):
        record = vm.record()
        return record is None or record.process != one.process
    return False


def _seen(config: Config, state: StateDir, running: bool) -> list[Stranger]:
    if config.driver == "simulated":
        return []
    return [*(_running(config, state) if running else ()), *_servers(config), *_ports(config)]


def _running(config: Config, state: StateDir) -> Iterator[Stranger]:
    """Yield what the driver has running for our VMs; imports what a node may lack only where it is used."""
    if config.driver == "xen":
        from flyinglow.nodectl.hypervisor.xl import Xl  # noqa: PLC0415 - see above

        names = [domain.name for domain in Xl(config.xl).all_of(config.state)]
    elif config.driver == "libvirt":
        from flyinglow.nodectl.hypervisor.libvirt import domains_of  # noqa: PLC0415 - see above

        names = domains_of(config)
    else:
        for tag, mark in belonging(state.path / "vms", state.pids):
            yield Stranger(tag, f"QEMU process {mark.pid}", mark)
        return
    for name in names:
        yield Stranger(name[len(PREFIX) :], f"domain {name}")


def _servers(config: Config) -> Iterator[Stranger]:
    """Yield the dnsmasq processes of this node that no bridge of it needs, or knows of."""
    begin = f"{CONFIGURED}{config.run / 'dhcp'}{os.sep}"
    for mark in processes.all_marks(lambda words: any(word.startswith(begin) for word in words)):
        word = next(iter(word for word in processes.arguments(mark.pid) if word.startswith(begin)), "")
        folder = Path(word[len(CONFIGURED) :]).parent
        dhcp = Dhcp(folder.name, folder, config.dnsmasq)
        if word and not (dhcp.names() and dhcp.process() == mark):
            yield Stranger("", f"dnsmasq process {mark.pid} of bridge {folder.name}", mark)


def _ports(config: Config) -> Iterator[Stranger]:
    """Yield DHCP entries, rules and taps by the names of ports."""
    entries: set[str] = set()
    folder = config.run / "dhcp"
    for bridge in sorted(folder.iterdir()) if folder.is_dir() else []:
        for name in Dhcp(bridge.name, bridge, config.dnsmasq).names():
            entries.add(name)
            yield from _named(name, f"DHCP entry {name} of bridge {bridge.name}")
    guarded = _guarded(config)
    for name in guarded:
        yield from _named(name, f"rules for {name}")
    for _, name in socket.if_nameindex():
        if name in entries or name in guarded or _is_left(name, config):
            yield from _named(name, f"interface {name}")


def _named(name: str, what: str) -> Iterator[Stranger]:
    match = PORT.match(name)
    if match is not None:
        yield Stranger(match[1], what)


def _guarded(config: Config) -> set[str]:
    if not is_root():
        return set()
    with contextlib.suppress(BrokenError):  # which the doctor names by itself
        return set(firewall_of(config).dropped())
    return set()


def _is_left(name: str, config: Config) -> bool:
    """Tell whether nobody uses a port of a bridge of ours, which may also be that of another state directory."""
    port = INTERFACES / name
    try:
        bridge = (port / "master").readlink().name
        return config.allows_bridge(bridge) and (port / "carrier").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return False

"""Look whether this node can run VMs, and name for everything that is missing what would help."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import strangers, tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import delivery
from flyinglow.nodectl.doctor import hypervisor as doctor_hypervisor
from flyinglow.nodectl.doctor import slots as doctor_slots
from flyinglow.nodectl.doctor import versions
from flyinglow.nodectl.doctor import xen as doctor_xen
from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.nodectl.hypervisor.commandline import rights
from flyinglow.nodectl.hypervisor.qmp import Qmp
from flyinglow.nodectl.images import listening
from flyinglow.nodectl.network.firewall_choice import firewall_of
from flyinglow.nodectl.network.ports import bridge_addresses
from flyinglow.nodectl.trust import is_root, weak_spot
from flyinglow.nodectl.vmdir import StateDir


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``text`` says what was found or what to do."""

    name: str
    ok: bool
    text: str


def examine(config: Config) -> list[Finding]:
    """Return all findings, the bad ones too. Never raises."""
    return [_finding(name, check) for name, check in _checks(config)]


def _checks(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "directories", lambda: _directories(config)
    yield "python", versions.python
    yield from doctor_slots.checks(config)
    if config.driver == "simulated":
        return
    yield from _driver(config)
    yield "strays", lambda: _strays(config)
    yield from doctor_hypervisor.hardware(config)
    yield "mke2fs", lambda: versions.found("mke2fs", config.mke2fs)
    yield "mkswap", lambda: versions.present(config.mkswap, "util-linux")
    yield "context", lambda: delivery.possible(config)
    if any(text.startswith("scp:") for text in (*config.image_sources, config.image_store, *config.save_targets)):
        yield "sftp", lambda: versions.present(config.sftp, "openssh-client")
    if config.peer_address:
        yield "peers", lambda: listening.possible(config.peer_address)
    if is_root():
        yield from _network(config)
    if is_root():
        yield "state", lambda: _root_only(config.state, "state")
        if not config.bridges:
            yield "bridges", lambda: "none: VMs get user-mode networks only (configuration key bridges lists none)"
        for folder in config.image_directories:
            yield "images", lambda folder=folder: _root_only(Path(folder), "images")  # type: ignore[misc]
    for bridge in config.bridges:
        yield f"bridge {bridge}", lambda bridge=bridge: _bridge(config, bridge)  # type: ignore[misc]


def _network(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "ip", lambda: versions.found("ip", config.ip)
    yield "dnsmasq", lambda: versions.found("dnsmasq", config.dnsmasq)
    if config.spoofing_rules != "off":
        rules = config.nft if config.spoofing_rules == "nft" else config.ebtables
        yield rules, lambda: versions.found("nft" if config.spoofing_rules == "nft" else "ebtables", rules)
    if config.driver != "xen":
        yield "/dev/net/tun", _tun
    yield "spoofing rules", firewall_of(config).check


def _driver(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    if config.driver == "xen":
        yield from doctor_xen.checks(config)
    elif config.driver == "libvirt":
        yield from doctor_hypervisor.libvirt(config)
        yield "qemu-img", lambda: versions.found("qemu-img", config.qemu_img)
    else:
        yield "qemu", lambda: versions.found("qemu", config.qemu)
        yield "qemu-img", lambda: versions.found("qemu-img", config.qemu_img)
        yield "qemu starts", lambda: _qemu_starts(config)


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (FlyingLowError, OSError) as error:
        return Finding(name, False, str(error))


def _directories(config: Config) -> str:
    state = StateDir(config.state, config.run, config.run_as)
    state.prepare()
    state.prepare_run()
    state.tidy()
    status = os.statvfs(config.state)
    free = status.f_bavail * status.f_frsize >> 20
    if free < config.minimum_free_disk_mb:
        raise BrokenError(
            f"{config.state} has {free} MiB left, {config.minimum_free_disk_mb} are to be kept: make room"
        )
    return f"{config.state}, {free} MiB free; {config.run}"


def _strays(config: Config) -> str:
    """Look for what is nobody's, and for VMs whose creation or removal was cut short and is not gone on with."""
    nobodys = [one.words for one in strangers.found(config)]
    state = StateDir(config.state, config.run, config.run_as)
    half = [vm.tag for vm in state.vms() if not ((vm.path / "vm.json").exists() or state.is_locked(vm.tag))]
    said = [f"{'; '.join(nobodys)}: {strangers.FIX}"] if nobodys else []
    said += [f"VM {tag} is half made: flyinglow-nodectl destroy {tag}" for tag in half]
    if said:
        raise BrokenError("; ".join(said))
    return "none"


def _tun() -> str:
    path = Path("/dev/net/tun")
    if not os.access(path, os.R_OK | os.W_OK):
        raise BrokenError(f"{path} cannot be opened: load the kernel module tun, or allow this container to use it")
    return str(path)


def _root_only(path: Path, key: str) -> str:
    if not path.is_dir():
        raise BrokenError(f"there is no directory {path}: make it, or set the configuration key {key}")
    found = weak_spot(path)
    if found is not None:
        raise BrokenError(
            f"{found} belongs to, or is writable by, another user than root, who could exchange {path}: "
            f"mend that, or set another directory with the configuration key {key}"
        )
    return str(path)


def _bridge(config: Config, bridge: str) -> str:
    addresses = [address for address in bridge_addresses(config.ip, bridge) if not address.is_link_local]
    if not any(isinstance(address, ipaddress.IPv4Address) for address in addresses):
        raise BrokenError(
            f"bridge {bridge} has no IPv4 address, from which guests could be given theirs: add one, unless all of "
            f"its networks are delivered static"
        )
    return ", ".join(map(str, addresses))


def _qemu_starts(config: Config) -> str:
    """Start a machine without a guest and ask it how it is."""
    accelerator = "tcg" if config.accelerator == "auto" else config.accelerator
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        path = Path(folder) / "q"
        words = [config.qemu, "-accel", accelerator, "-cpu", config.cpu, "-M", config.machine, "-S"]
        words += ["-nodefaults", "-no-user-config", "-display", "none", "-m", "32", *rights(config)]
        child = subprocess.Popen(
            [*words, "-qmp", f"unix:{path},server=on,wait=off"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            return _ask(child, path, accelerator)
        finally:
            child.kill()
            child.communicate()


def _ask(child: subprocess.Popen[bytes], path: Path, accelerator: str) -> str:
    for _ in range(200):
        if path.exists():
            with Qmp(path) as qmp:
                return f"with accelerator {accelerator}: {qmp.ask('query-status')['status']}"
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        words = child.stderr.read().decode(errors="replace").strip() if child.stderr else ""
        raise BrokenError(f"QEMU does not start: {words[-tools.TAIL :]}")
    raise BrokenError("QEMU does not answer within 10 s")

"""The configuration of a node: one JSON object, every key with a default, unknown keys refused.

A node works without any file. Paths of tools are looked up in ``PATH`` unless a key names them with a slash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyinglow.nodectl.bounds import at_least, check, expect
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor import settings
from flyinglow.nodectl.hypervisor.settings import OVERHEAD_MB
from flyinglow.nodectl.trust import check_file, is_root

DEFAULT_FILE = Path("/etc/flyinglow/nodectl.json")
ROOT_STATE = Path("/var/lib/flyinglow-node")  # not below the service's own directory, which is not root's
ROOT_IMAGES = "/srv/flyinglow/images"
WISHES = frozenset({"settle", "least_mb", "stuck_mb"})


@dataclass(frozen=True)
class Simulated:
    """How the simulated driver behaves: seconds an order takes, orders that fail, VMs that die by themselves."""

    delays: dict[str, float] = field(default_factory=dict)  # order (or "ready") -> seconds
    failures: tuple[dict[str, Any], ...] = ()  # {"order", "match", "kind", "message", "times"}
    exits: tuple[dict[str, Any], ...] = ()  # {"match", "seconds"}
    memory: dict[str, float] = field(default_factory=dict)  # {"settle", "least_mb", "stuck_mb"}


@dataclass(frozen=True)
class Config:
    """All a node can be told. Sizes are MiB, times seconds."""

    state: Path
    run: Path
    node: str
    driver: str = "qemu"
    libvirt: str = "qemu:///system"  # URI of the site's libvirtd, for driver libvirt
    placement: str = "outside"  # of QEMU: out of the process tree of the job that orders it, or inside
    dedicated_cpus: tuple[int, ...] = ()  # which VMs may have for themselves; all others keep off them
    devices: dict[str, tuple[str, ...]] = field(default_factory=dict)  # kind -> PCI addresses
    accelerator: str = "tcg"
    probe_seconds: float = 8.0
    qemu: str = "qemu-system-x86_64"
    qemu_img: str = "qemu-img"
    dnsmasq: str = "dnsmasq"
    ip: str = "ip"
    nft: str = "nft"
    ebtables: str = "ebtables"
    mke2fs: str = "mke2fs"
    mkswap: str = "mkswap"
    xorrisofs: str = "xorrisofs"
    debugfs: str = "debugfs"
    e2fsck: str = "e2fsck"
    sftp: str = "sftp"
    machine: str = "q35"
    cpu: str = "max"
    tb_size: int = 32
    sandbox: bool = False
    run_as: str | None = None
    images: tuple[str, ...] = ()
    image_sources: tuple[str, ...] = ()  # URIs below which images are fetched; empty: any, for root's agent none
    image_store: str = ""  # URI below which store:NAME lies
    image_max_mb: int = 65536  # the longest image, and what one may seem to its guest
    image_timeout: float = 30.0  # a server that says nothing for so long is given up
    image_tries: int = 3  # in which a transfer gets no further
    image_authorities: str | None = None  # PEM file for https; None: the node's own
    image_identity: str | None = None  # key file for scp
    image_known_hosts: str | None = None  # host keys for scp
    peer_address: str = ""  # where other nodes of a launch set get images: an address, or a network; empty: nowhere
    peer_port: int = 0  # the first of 16 ports for that; 0: any
    save_targets: tuple[str, ...] = ()  # URIs below which disks are saved; empty: any, for root's agent none
    cache_max_mb: int = 20480  # of fetched images, those in use included
    bridges: tuple[str, ...] = ()
    spoofing_rules: str = "nft"  # what holds guests on bridges to their own addresses
    vlans: dict[str, str] = field(default_factory=dict)  # bridge -> "eth0.42": the VLAN that is its wire
    trunk: str = ""  # the interface that carries the VLANs which the service names for its networks
    minimum_free_disk_mb: int = 64
    console_max_mb: int = 8
    workers: int = 16
    watch_seconds: float = 0.5
    start_seconds: float = 30.0
    memory: str = "accounted"
    memory_mb: int | None = None  # what the node has; None: what the machine has
    cpus: int | None = None  # the same
    minimum_node_mb: int = 256  # what no slot may take from the node's own share
    base_mb: int | None = None  # what kill-all lets the own share become when nothing is on record
    vm_overhead_mb: int | None = None  # of each VM's hypervisor, counted against the slot; None: the driver's usual
    settle_seconds: float = 10.0
    memory_cgroup: str = ""
    vm_cgroup: str = ""
    xl: str = "xl"
    xen_consoles: str = "/var/log/xen/console"  # where xenconsoled writes guests' consoles
    hugepages: str = "/dev/hugepages"
    ticket_signers: str | None = None  # OpenSSH's file of those whose tickets let slots be taken; None: none is needed
    ssh_keygen: str = "ssh-keygen"
    simulated: Simulated = field(default_factory=Simulated)

    @property
    def image_directories(self) -> tuple[str, ...]:
        """Where images, kernels and initial RAM disks must lie; empty, which root's agent never is: anywhere."""
        return self.images or ((ROOT_IMAGES,) if is_root() else ())

    @property
    def overhead_mb(self) -> int:
        """What each VM takes of its slot besides its own memory."""
        if self.vm_overhead_mb is not None:
            return self.vm_overhead_mb
        return OVERHEAD_MB[self.driver]

    def allows_bridge(self, name: str) -> bool:
        """Tell whether VMs may use a bridge; root's agent knows listed ones only."""
        return name in self.bridges or not (self.bridges or is_root())


def load(file: Path | None = None, **overrides: Any) -> Config:
    """Read a node's configuration; ``overrides`` that are not None win. Raises InvalidError for what is wrong in it.

    Without ``file`` the default one is read, and need not be there. Raises DeniedError when root is to read a file that
    is not root's.
    """
    data = _read(file if file is not None else DEFAULT_FILE, required=file is not None)
    data.update({key: value for key, value in overrides.items() if value is not None})
    return build(data)


def build(data: dict[str, Any]) -> Config:
    """Make a Config of the JSON form. Raises InvalidError for an unknown key or a value of the wrong type."""
    data = dict(data)
    _refuse_unknown(data, Config, "")
    simulated = data.pop("simulated", {})
    expect(simulated, dict, "simulated")
    _refuse_unknown(simulated, Simulated, "simulated.")
    state = Path(data.pop("state", None) or _default_state()).absolute()
    run = Path(data.pop("run", None) or _default_run(state)).absolute()
    node = data.pop("node", None) or socket.gethostname()
    config = Config(state=state, run=run, node=node, simulated=_simulated(simulated), **_lists(settings.hardware(data)))
    check(config)
    return config


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            check_file(file.fileno(), path)
            data = json.load(file)
    except FileNotFoundError as error:
        if required:
            raise InvalidError(f"configuration file {path} does not exist") from error
        return {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"configuration file {path} cannot be read: {error}") from error
    expect(data, dict, str(path))
    return dict(data)


def _lists(data: dict[str, Any]) -> dict[str, Any]:
    for key in ("images", "image_sources", "save_targets", "bridges"):
        if key in data:
            expect(data[key], list, key)
            data[key] = tuple(str(item) for item in data[key])
    return data


def _simulated(data: dict[str, Any]) -> Simulated:
    return Simulated(
        delays=dict(data.get("delays", {})),
        failures=tuple(data.get("failures", ())),
        exits=tuple(data.get("exits", ())),
        memory=_wishes(data.get("memory", {})),
    )


def _wishes(data: Any) -> dict[str, float]:
    expect(data, dict, "simulated.memory")
    for key, value in data.items():
        if key not in WISHES:
            raise InvalidError(f"unknown configuration key simulated.memory.{key} (known: {', '.join(sorted(WISHES))})")
        at_least(value, f"simulated.memory.{key}", 0)
    return dict(data)


def _refuse_unknown(data: dict[str, Any], cls: type, prefix: str) -> None:
    known = {item.name for item in dataclasses.fields(cls)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise InvalidError(f"unknown configuration key {prefix}{unknown[0]} (known: {', '.join(sorted(known))})")


def _default_state() -> Path:
    if is_root():
        return ROOT_STATE
    try:
        return Path.home() / ".local/state/flyinglow/nodectl"
    except RuntimeError:
        lacking = f"user {os.geteuid()} has neither an account nor HOME"
        raise InvalidError(f"{lacking}: name a directory as 'state' in the node's configuration") from None


def _default_run(state: Path) -> Path:
    """Choose a short directory: the path of a unix socket may have no more than 107 bytes."""
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:8]
    if is_root():
        return Path("/run/flyinglow") / digest
    return Path(f"/tmp/flyinglow-{os.geteuid()}-{digest}")  # noqa: S108 - its owner and mode are checked on use

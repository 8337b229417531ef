"""The only definition of what the service and the program on a node say to each other.

One JSON object a line, both ways. The service sends *orders*, the agent sends *answers* (same ``id``) and, unasked,
*news* about a VM. Orders carry durations, never absolute times: clocks differ. A batch is several orders written
together; the agent may work on orders for different VMs at once, and answers in the order in which they finish.

    -> {"v": 1, "id": 7, "order": "create", "tag": "kx3b9q2z", "body": {...VmSpec...}}
    <- {"v": 1, "id": 7, "ok": true, "body": {...VmInfo...}}
    <- {"v": 1, "id": 7, "ok": false, "error": {"kind": "transient", "message": "...", "figures": {}}}
    <- {"v": 1, "news": "vm", "body": {...VmInfo...}}

The first line the agent writes is its hello: ``{"v": 1, "news": "hello", "body": {"version", "node", "drivers",
"speaks": [1, 2]}}``. It is written in the oldest version that the agent speaks; what follows is in the highest one that
both sides do (``versions``). Version 2 brought batches (``framing``) and the order ``cancel``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from flyinglow.nodectl.versions import Spoken, heard, understood

SPOKEN = Spoken(OLDEST := 1, VERSION := 2)
BATCHES = CANCELS = 2  # versions from which on there is such a thing
_LONGEST = 10**9  # seconds that any step may take; also tells NaN and infinity
MAX_LINE = 4 << 20  # bytes; a longer line is refused by both sides


class OrderName(str, Enum):
    """What a node can be told to do. Each may be repeated: a repeated order finds its work done."""

    CREATE = "create"  # image, disks, network, context; leaves the VM defined and not running; body VmSpec -> VmInfo
    START = "start"  # run a created or shut-down VM; body {"paused": bool} -> VmInfo
    PAUSE = "pause"  # -> VmInfo
    RESUME = "resume"  # -> VmInfo
    REBOOT = "reboot"  # -> VmInfo
    SHUTDOWN = "shutdown"  # ask the guest, then end it; body {"seconds": grace} -> VmInfo
    DESTROY = "destroy"  # end it and remove all that is its: process, tap, DHCP entry, directory -> {}
    LIST = "list"  # no tag -> {"vms": [VmInfo, ...]}
    INFO = "info"  # -> VmInfo; UnknownError when there is no such VM
    CONSOLE = "console"  # body {"offset": int, "max": int} -> {"data": base64, "offset": int, "size": int}
    SAVE = "save"  # of a VM that is down: body {"target": URI, "disk": name, "format"} -> VmInfo with "saved"
    OFFER = "offer"  # no tag; body Offer: let other nodes of a launch set have images of this one's cache -> Offered
    RESERVE = "reserve"  # no tag; body SlotSpec: take a slot of this node for this agent -> SlotInfo
    RELEASE = "release"  # no tag; body {"slot": id}: end its VMs, give its memory back -> SlotInfo with "destroyed"
    CANCEL = "cancel"  # body {"order": name}: those by this name that came before are not wanted any more -> {}


class VmStatus(str, Enum):
    """What a hypervisor driver sees of a VM."""

    CREATED = "created"  # defined on the node, never started
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"  # was running; its disks are still there
    BROKEN = "broken"  # its directory is there but cannot be understood or its process was lost in a bad way


@dataclass(frozen=True)
class DiskSpec:
    """One disk of a VM. ``source`` is a path or a URI, ``blank_mb`` makes an empty one, with a file system if named.

    What ``source`` has to come over a network needs ``sha256``.
    """

    name: str
    source: str | None = None
    format: str = "raw"
    sha256: str | None = None
    blank_mb: int | None = None
    read_only: bool = False
    mount: str | None = None
    file_system: str | None = None  # of a blank disk: ext4 or swap, labelled with its name
    public: bool = False  # the source is a stranger's word: it is connected to at public addresses only
    most_mb: int | None = None  # how large it was declared to be: one that is larger to its guest is refused


@dataclass(frozen=True)
class NicSpec:
    """One network interface: MAC and addresses are the service's choice."""

    network: str
    mac: str
    ip: str
    prefix: int
    hostname: str
    bridge: str | None = None  # None: user-mode network
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    ip6: str | None = None  # with prefix6; what follows is for it
    prefix6: int = 64
    gateway6: str | None = None
    dns6: tuple[str, ...] = ()
    delivery: str = "dhcp"  # how the guest learns of it: dhcp, or static (from its context only)
    vlan: int | None = None  # the VLAN that the network is on the site's wires; the node's bridge must be the same


@dataclass(frozen=True)
class GuestFile:
    """A file that is to appear in the guest, root's own: an absolute path, its bytes in base64, its permissions."""

    path: str
    content: str = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True)
class HardwareSpec:
    """What a VM is to have of its node's hardware besides memory and CPUs; each node decides whether it has it.

    ``devices`` are the node's own names of kinds, one for each device that is wanted. No order names an address.
    """

    dedicated_cpus: bool = False  # each of its CPUs is one of the node's, and nobody else's
    numa_node: int | None = None  # CPUs and memory of this NUMA node
    huge_pages: bool = False  # its memory is in the node's pool of huge pages
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class VmSpec:
    """All a node needs to create one VM."""

    tag: str
    name: str
    memory_mb: int
    cpus: int
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    kernel: str | None = None  # the site's own, from the image catalogue; never a tenant's
    initrd: str | None = None
    append: str = ""
    hostname: str = ""
    context: str = field(default="", repr=False)  # text handed to the guest as it is
    user_data: str = field(default="", repr=False)
    ready_mark: str | None = None  # a console line by which the guest says that it is ready
    files: tuple[GuestFile, ...] = ()
    keys: tuple[str, ...] = ()  # lines of authorized_keys, which the context has too
    delivery: str = "auto"  # how all this gets into the guest (nodectl/context/ways.py)
    hardware: HardwareSpec = HardwareSpec()


@dataclass(frozen=True)
class Offer:
    """Which images (by sha256) whoever has the key may have of a node's cache, and for how many seconds."""

    key: str = field(repr=False)
    digests: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Offered:
    """Where a node serves what it was told to (empty: nowhere), and what of it is there as a whole."""

    url: str = ""
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upstream:
    """Where a node may ask for images before it asks their sources: URLs by sha256, the nearest node first.

    It stands as ``upstream`` beside the fields of VmSpec in the body of ``create``.
    """

    key: str = field(repr=False)
    urls: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class VmInfo:
    """What the node says of one VM. ``seconds`` maps a stamp (image, network, started) to how long that step took."""

    tag: str
    status: VmStatus
    ready: bool = False
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    pid: int | None = None
    dropped: dict[str, int] = field(default_factory=dict)  # packets stopped at its NICs, by kind (firewall.KINDS)
    dropped_at: dict[str, dict[str, int]] = field(default_factory=dict)  # the same by the NIC's number, "0" first
    alarm: str = ""  # in news: what its guest sent that is not its own, in words
    saved: dict[str, Any] = field(default_factory=dict)  # of the disk that was: target, format, disk, sha256, bytes
    progress: str = ""  # how far a transfer is, while an order is being carried out


def encode(value: Any) -> dict[str, Any]:
    """Return a message dataclass as plain JSON types.

    What a specification leaves at its default is left out: a node refuses fields that it does not know, and one of an
    earlier version is to take whatever asks for nothing new.
    """
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_fields))
    return plain


def _fields(value: Any) -> dict[str, Any]:
    lean = isinstance(value, (VmSpec, DiskSpec, NicSpec))
    told = [(each.name, getattr(value, each.name), each.default) for each in dataclasses.fields(value)]
    return {name: given for name, given, default in told if not (lean and given == default)}


def vm_spec(body: dict[str, Any]) -> VmSpec:
    """Build a VmSpec from its JSON form. Raises TypeError or KeyError when a field is unknown and set, or missing."""
    data = dict(body)
    data["disks"] = tuple(DiskSpec(**understood(DiskSpec, d)) for d in data.get("disks", ()))
    data["nics"] = tuple(NicSpec(**_lists(understood(NicSpec, n), "dns", "dns6")) for n in data.get("nics", ()))
    data["files"] = tuple(GuestFile(**understood(GuestFile, f)) for f in data.get("files", ()))
    data["keys"] = tuple(data.get("keys", ()))
    hardware = data.get("hardware", {})
    devices = hardware.get("devices", ())
    if not isinstance(devices, (list, tuple)):
        raise TypeError(f"devices are a list of names, not {devices!r}")
    data["hardware"] = HardwareSpec(**{**understood(HardwareSpec, hardware), "devices": tuple(devices)})
    return VmSpec(**understood(VmSpec, data))


def _lists(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**body, **{name: tuple(body.get(name, ())) for name in names}}


def vm_info(body: dict[str, Any]) -> VmInfo:
    """Build a VmInfo from its JSON form. Raises TypeError, KeyError or ValueError when it is not one."""
    for name, kind in (
        ("tag", str),
        ("reason", str),
        ("progress", str),
        ("alarm", str),
        ("ready", bool),
        ("pid", (int, type(None))),
        ("seconds", dict),
        ("saved", dict),
    ):
        if name in body and not isinstance(body[name], kind):
            raise TypeError(f"{name} is of another type: {body[name]!r}")
    if not all(map(_is_time, body.get("seconds", {}).values())):
        raise TypeError("seconds maps names to times")
    if not _are_counts(body.get("dropped", {})):
        raise TypeError("dropped maps kinds to numbers")
    dropped_at = body.get("dropped_at", {})
    if not isinstance(dropped_at, dict) or not all(map(_are_counts, dropped_at.values())):
        raise TypeError("dropped_at maps NICs to what was dropped")
    return VmInfo(**{**heard(VmInfo, body), "status": VmStatus(body["status"])})


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int) and 0 <= value < 1 << 64


def _is_time(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 <= value <= _LONGEST

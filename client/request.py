"""What a lease is asked for: parts, disks, NICs and files, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flyinglow.client.epr import Epr

Values = dict[str, Any]
"""Arguments as zeep wants them: by the names of the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk: of an image, of a partition the site keeps, or blank. Exactly one of the three is set.

    ``image`` is a name of the catalogue, or, where the site allows it, a URI with the image's ``sha256`` and ``format``
    (raw or qcow2); with one, ``size_mb`` is what it takes on a node, and ``kernel_from`` the image of the catalogue
    whose kernel boots it, where the site has no such kernel of its own choice.

    ``name`` is a label for messages, and of a blank disk's file system (``ext4`` or ``swap``; ``ext4`` where a blank
    disk has a ``mount``). A guest mounts what has a ``mount`` if it reads its context.
    """

    image: str | None = None
    partition: str | None = None
    blank_mb: int | None = None
    name: str | None = None
    mount: str | None = None
    read_only: bool = False
    file_system: str | None = None
    sha256: str | None = None
    format: str | None = None
    size_mb: int | None = None
    kernel_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One NIC on a network of the site's."""

    network: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be put into the guest; ``mode`` in octal."""

    path: str
    content: bytes
    mode: str = "0644"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of member and how many of it. Memory and disk are MB of 2**20 bytes, for each."""

    name: str
    memory_mb: int
    cpus: int = 1
    count: int = 1
    disk_mb: int = 0
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    user_data: bytes = b""
    files: tuple[File, ...] = ()
    dedicated_cpus: bool = False
    numa_node: int | None = None
    huge_pages: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A whole request. Durations are seconds; ``start_by`` and ``start_within`` exclude each other.

    ``ready_barrier``: all are Running when all guests have said within this time that they are ready.
    """

    name: str
    parts: tuple[Part, ...]
    token: str | None
    duration: int | timedelta | None = None
    start_by: datetime | None = None
    start_within: int | timedelta | None = None
    initial_state: str = "Running"
    end_action: str = "Trash"
    save_to: str | None = None
    preemptable: bool = False
    ready_barrier: int | timedelta | None = None
    open: bool = False
    join: Epr | None = None
    subscribe: Values | None = None  # the parts of a wsnt:Subscribe


def values(request: Request) -> Values:
    """Return the request as the schema names it; what is not set is left out."""
    lease = {
        "Duration": _span(request.duration),
        "StartBy": None if request.start_by is None else request.start_by.astimezone(UTC),
        "StartWithin": _span(request.start_within),
        "InitialState": request.initial_state,
        "EndAction": request.end_action,
        "SaveTo": request.save_to,
        "Preemptable": request.preemptable or None,
        "ReadyBarrier": _span(request.ready_barrier),
    }
    made = {
        "Name": request.name,
        "Part": [_part(part) for part in request.parts],
        "Lease": _set(lease),
        "Token": request.token,
        "Ensemble": None if request.join is None else request.join.values(),
        "Open": request.open or None,
        "Subscribe": request.subscribe,
    }
    return _set(made)


def _set(given: Values) -> Values:
    return {key: value for key, value in given.items() if value is not None}


def _span(given: int | timedelta | None) -> timedelta | None:
    return timedelta(seconds=given) if isinstance(given, int) else given


def _part(part: Part) -> Values:
    context = {
        "Provides": list(part.provides) or None,
        "Requires": list(part.requires) or None,
        "Key": list(part.keys) or None,
        "UserData": part.user_data or None,
        "File": [{"Path": file.path, "Mode": file.mode, "Content": file.content} for file in part.files] or None,
    }
    hardware = {
        "DedicatedCPUs": part.dedicated_cpus or None,
        "NUMANode": part.numa_node,
        "HugePages": part.huge_pages or None,
        "Device": list(part.devices) or None,
    }
    made = {
        "Name": part.name,
        "Count": part.count,
        "MemoryMB": part.memory_mb,
        "CPUs": part.cpus,
        "DiskMB": part.disk_mb or None,
        "Disk": [_disk(disk) for disk in part.disks] or None,
        "NIC": [_set({"Network": nic.network, "Name": nic.name}) for nic in part.nics] or None,
        "Context": _set(context) or None,
        "Hardware": _set(hardware) or None,
    }
    return _set(made)


def _disk(disk: Disk) -> Values:
    made = {
        "Name": disk.name,
        "Image": disk.image,
        "Partition": disk.partition,
        "BlankMB": disk.blank_mb,
        "MountPoint": disk.mount,
        "ReadOnly": disk.read_only or None,
        "FileSystem": disk.file_system,
        "SHA256": disk.sha256,
        "Format": disk.format,
        "SizeMB": disk.size_mb,
        "KernelFrom": disk.kernel_from,
    }
    return _set(made)

"""What the machine of a workspace is made of, as a lease asks for it, and what its guest said: plain frozen values.

Memory and disk are MB (2**20 bytes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The resource allocation of one VM."""

    memory_mb: int
    cpus: int
    disk_mb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk: one of ``image`` (catalogue name or URI), ``partition`` (cached on the site) and ``blank_mb``."""

    name: str
    image: str | None = None
    partition: str | None = None
    blank_mb: int | None = None
    mount: str | None = None
    read_only: bool = False
    file_system: str | None = None  # of a blank disk: ext4 or swap; None: ext4 where it is mounted, else nothing
    sha256: str | None = None  # this and the following: of an image named by its URI
    format: str | None = None
    size_mb: int | None = None  # what it takes on a node
    kernel_from: str | None = None  # the catalogue entry whose kernel boots it; None: its own boot loader
    public: bool = False  # it may come from public addresses only


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One network interface; the addresses are empty until they are leased with the request."""

    network: str
    name: str = ""
    ip: str = ""
    prefix: int = 0
    mac: str = ""
    hostname: str = ""
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    ip6: str | None = None
    prefix6: int = 0
    gateway6: str | None = None
    dns6: tuple[str, ...] = ()
    delivery: str = "dhcp"  # or static: the guest learns its addresses from its context only
    vlan: int | None = None  # on the site's wires
    dropped: tuple[tuple[str, int], ...] = ()  # what its guest was stopped from sending, by kind, at the last alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to appear in the guest."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the guest is told: roles it provides and requires, keys that may log in, user data, files."""

    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    user_data: bytes = field(default=b"", repr=False)
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a VM is to have of its node besides memory and CPUs; ``devices`` are the site's names, one for each."""

    dedicated_cpus: bool = False
    numa_node: int | None = None
    huge_pages: bool = False
    devices: tuple[str, ...] = ()


class GuestStatus(StrEnum):
    """What a guest says of its start."""

    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """The last that a guest reported of itself; ``values`` are told to the other guests of its launch set."""

    workspace_id: str
    status: GuestStatus
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    at: datetime

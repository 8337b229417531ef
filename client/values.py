"""What a service says of its resources and of itself, as plain frozen values.

Times are aware UTC, sizes MB of 2**20 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flyinglow.client.resource import Resource
    from flyinglow.nodectl.errors import FlyingLowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One NIC's leased addresses; None where the site gives none."""

    network: str
    name: str | None = None
    ip: str = ""
    prefix: int | None = None
    mac: str | None = None
    hostname: str = ""
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    ip6: str | None = None
    prefix6: int | None = None
    gateway6: str | None = None
    dns6: tuple[str, ...] = ()
    delivery: str = "dhcp"
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What one workspace holds on its node."""

    memory_mb: int
    cpus: int
    disk_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """What a guest reported last of itself: ``status`` is ok or error, ``values`` are for the other guests."""

    status: str
    message: str = ""
    at: datetime | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedDisk:
    """One disk of a workspace, as it was asked for; the first is the one that is booted."""

    name: str
    image: str | None = None
    partition: str | None = None
    blank_mb: int | None = None
    mount: str | None = None
    read_only: bool = False
    file_system: str | None = None
    sha256: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was saved last of a workspace: which disk, where it lies, what it is. None is what the node did not say."""

    target: str | None = None
    sha256: str | None = None
    disk: str | None = None
    format: str | None = None
    bytes: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One workspace of a group or ensemble, or one group of an ensemble, as the whole reports it."""

    name: str
    resource: Resource
    state: str
    task: str | None = None
    reason: str = ""
    node: str | None = None
    nics: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """A resource's properties; what its kind does not have is None or empty.

    ``timing`` holds the points in time of the receipt by the service's clock, ``measured`` seconds by the node's.
    ``ends_at`` is None as long as the lease has not begun; until then ``starts_at`` is when it is expected to, where
    anybody can say, and ``waits`` why it has not. ``guest`` is what a workspace's guest reported. ``census`` counts
    members by state. ``saves_at`` is when it is shut down to be saved to ``save_to`` before its end, ``saved`` what was
    saved last.
    """

    kind: str
    name: str
    state: str
    task: str | None = None
    reason: str = ""
    owner: str = ""
    tag: str | None = None
    node: str | None = None
    nics: tuple[Address, ...] = ()
    accepted_at: datetime | None = None
    start_by: datetime | None = None
    starts_at: datetime | None = None
    waits: str = ""
    ends_at: datetime | None = None
    duration: int | None = None
    allocation: Allocation | None = None
    initial_state: str | None = None
    end_action: str | None = None
    save_to: str | None = None
    saves_at: datetime | None = None
    saved: Saved | None = None
    disks: tuple[LeasedDisk, ...] = ()
    timing: Mapping[str, datetime] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    guest: GuestReport | None = None
    members: tuple[Member, ...] = ()
    census: Mapping[str, int] | None = None
    total: int | None = None
    open: bool = False
    current_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the list of what the caller leases."""

    name: str
    kind: str
    resource: Resource
    state: str
    task: str | None = None
    ends_at: datetime | None = None
    owner: str | None = None  # where everybody's were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What Create gave: ``whole`` is the ensemble, group or workspace; ``resources`` has it and all members by name."""

    whole: Resource
    resources: Mapping[str, Resource]
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Valid:
    """A request that would be granted now: of how many workspaces, for how many seconds, why it would have to wait."""

    workspaces: int
    duration: int
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When a request would start: ``starts_in`` seconds from now, None when nobody can say; why not at once."""

    starts_in: int | None = None
    starts_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one member in an operation on the whole; ``error`` is None when it did as it was told."""

    name: str
    resource: Resource
    error: FlyingLowError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """A piece of what a guest said: ``data`` begins at byte ``offset`` of ``size`` so far."""

    data: bytes
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An ensemble's or group's own account of itself and its members."""

    name: str
    state: str
    task: str | None
    reason: str
    open: bool
    census: Mapping[str, int]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeNow:
    """What is free now over all nodes, and the largest piece of each that one node has."""

    memory_mb: int
    cpus: int
    disk_mb: int
    nodes: int | None = None
    largest_memory_mb: int | None = None
    largest_cpus: int | None = None
    largest_disk_mb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOffer:
    """A network, and how many addresses it has and has free."""

    name: str
    addresses: int
    free_addresses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOffer:
    """An image of the site's catalogue."""

    name: str
    format: str | None = None
    architecture: str | None = None
    vmm: str | None = None
    sha256: str | None = None
    size_mb: int | None = None
    description: str = ""
    partition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the site offers: the most that one workspace can have, how long, on which networks, with which images.

    Durations are seconds. ``immediate``: a request is granted or refused at once, not queued.
    """

    maximum_memory_mb: int
    maximum_cpus: int
    maximum_disk_mb: int
    maximum_members: int
    immediate: bool
    architectures: tuple[str, ...]
    vmms: tuple[str, ...]
    default_duration: int
    maximum_duration: int
    free: FreeNow
    networks: tuple[NetworkOffer, ...]
    images: tuple[ImageOffer, ...]
    image_schemes: tuple[str, ...] = ()  # by which an image may be named by its URI

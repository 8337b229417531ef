"""What a workspace is, on the service's side: plain frozen values, no behaviour, no storage.

Ids: ``id`` is 128 random bits in hex and is known only to the lessee (it is in the EPR; never in a job, tap, path or
process list). ``tag`` is eight lower-case letters and digits, starting with a letter; it names what is on a node.
Times are aware UTC datetimes; memory and disk are MB (2**20 bytes); durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flyinglow.workspace.machine import Allocation, Context, Disk, File, GuestReport, GuestStatus, Hardware, Nic
from flyinglow.workspace.states import State, Status, Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "Allocation",
    "Collection",
    "Context",
    "Disk",
    "EndAction",
    "Event",
    "File",
    "GuestReport",
    "GuestStatus",
    "Hardware",
    "InitialState",
    "Kind",
    "Lease",
    "Nic",
    "ResourceKey",
    "Selection",
    "Stamp",
    "Topic",
    "Workspace",
]


class Kind(StrEnum):
    """The kinds of WS-Resource a lease can hand out, and the broker, which speaks for all of one owner's."""

    WORKSPACE = "workspace"
    GROUP = "group"
    ENSEMBLE = "ensemble"
    BROKER = "broker"


LEASED = (Kind.WORKSPACE, Kind.GROUP, Kind.ENSEMBLE)
"""What a lease can hand out."""


@dataclass(frozen=True, slots=True, order=True)
class ResourceKey:
    """Names one WS-Resource."""

    kind: Kind
    id: str


class InitialState(StrEnum):
    """How far a workspace is brought without a further request."""

    PROPAGATED = "Propagated"
    RUNNING = "Running"
    PAUSED = "Paused"


class EndAction(StrEnum):
    """What becomes of the disks at the lease's end."""

    TRASH = "trash"
    SAVE = "save"


class Stamp(StrEnum):
    """The points of the timing receipt, in order (design, section 4)."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    SCHEDULED = "scheduled"  # placed: its node is known
    LAUNCHED = "launched"
    ADAPTED = "adapted"
    IMAGE = "image"
    NETWORK = "network"
    STARTED = "started"
    READY = "ready"
    NOTIFIED = "notified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One workspace row. ``version`` grows with every write; ``sequence`` with every event.

    ``ready_within`` asks for a ready barrier: how many seconds its guest has to say that it is ready. ``ready_by`` is
    until when, from its start to the time at which it has passed the barrier with all of its launch set.
    """

    id: str
    tag: str
    owner: str
    name: str
    part: str
    lease_id: str
    launch_set: str
    group_id: str | None = None
    ensemble_id: str | None = None
    state: State = State.UNPROPAGATED
    task: Task | None = Task.QUEUED
    target: State | None = None
    reason: str = ""
    node: str | None = None
    allocation: Allocation
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    context: Context = Context()
    hardware: Hardware = Hardware()
    initial_state: InitialState = InitialState.RUNNING
    end_action: EndAction = EndAction.TRASH
    save_uri: str | None = None  # where a save under way, or the last one, goes
    end_uri: str | None = None  # where the end action Save sends the disk
    save_lead: int = 0  # seconds before the end at which that begins
    saved: Mapping[str, Any] = field(default_factory=dict)  # of the last save: target, format, disk, sha256, bytes
    duration: int
    preemptable: bool = False  # may be ended early for others, and may use what is left over
    accepted_at: datetime
    start_by: datetime | None = None
    starts_at: datetime | None = None  # when it is expected to start, while it waits
    ends_at: datetime | None = None
    ready_within: int | None = None
    ready_by: datetime | None = None
    warned: bool = False
    destroyed_at: datetime | None = None  # the lessee's intent; from then on the EPR is unknown
    finished_at: datetime | None = None
    attempts: int = 0  # failed clean-ups in a row
    stamps: Mapping[str, datetime] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # measured on the node's own clock
    version: int = 1
    sequence: int = 0

    @property
    def status(self) -> Status:
        """The pair that a transition compares and sets."""
        return Status(self.state, self.task)

    @property
    def saves_at(self) -> datetime | None:
        """When saving for the end begins; None where nothing is saved then, or no end is known yet."""
        if self.end_action is not EndAction.SAVE or self.ends_at is None:
            return None
        return self.ends_at - timedelta(seconds=self.save_lead)

    @property
    def key(self) -> ResourceKey:
        """Its name among all WS-Resources."""
        return ResourceKey(Kind.WORKSPACE, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A group (n alike) or an ensemble (a set of different ones). It has no state of its own: its members' are folded.

    ``published`` is the last published fold (a publication cursor). ``open`` is true for an ensemble until Done;
    ``ends_at`` bounds only the life of an open ensemble.
    """

    key: ResourceKey
    owner: str
    name: str
    lease_id: str
    ensemble_id: str | None = None
    open: bool = False
    accepted_at: datetime
    ends_at: datetime | None = None
    destroyed_at: datetime | None = None
    published: str = ""
    version: int = 1
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What one Create handed out. ``digest`` tells a repeated request with the same token from a different one."""

    id: str
    owner: str
    token: str | None
    digest: str
    created_at: datetime
    resources: tuple[tuple[str, ResourceKey], ...]  # (name, key), the first is the whole: ensemble, group or workspace


class Topic(StrEnum):
    """The topics that workspaces, groups and ensembles publish; children of the service's topic name space."""

    STATE = "state"
    SCHEDULE = "schedule"
    NETWORKING = "networking"
    TERMINATION = "termination"
    WARNING = "warning"
    MEMBERSHIP = "membership"  # of groups and ensembles only


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one resource; written in the transaction that made it happen.

    ``body`` is plain JSON: for ``state``: name, state, task, target, reason, previous; for ``schedule``: reason,
    starts_at, ends_at; for ``networking``: nics, reason (when its guest was stopped from using other addresses); for
    ``termination``: reason, at; for ``warning``: ends_at, seconds, reason (when it is not the lease that ends),
    saves_at (when it is shut down to be saved); for ``membership``: change (added, removed), member and
    member_name, reason. A fold's state event has also counts by state and total.
    """

    key: ResourceKey
    sequence: int
    topic: Topic
    owner: str
    at: datetime
    body: Mapping[str, Any]
    group_id: str | None = None
    ensemble_id: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which workspaces: every field that is set must hold. ``living`` = not final; ``visible`` = not destroyed."""

    ids: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    owner: str | None = None
    group_id: str | None = None
    ensemble_id: str | None = None
    launch_set: str | None = None
    node: str | None = None
    with_task: bool | None = None
    living: bool | None = None
    visible: bool | None = None
    ends_before: datetime | None = None
    saved_at_end: bool | None = None  # by its end action
    start_before: datetime | None = None  # had to start by then
    finished_before: datetime | None = None
    after: str | None = None  # page: ids greater than this one, in id order
    limit: int | None = None

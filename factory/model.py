"""What a Create asks for and answers, as plain values; ``factory/soap.py`` reads and writes them as XML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flyinglow.workspace.model import Context, EndAction, Hardware, InitialState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flyinglow.workspace.model import Allocation, Disk, Nic, ResourceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``count`` alike workspaces. One with count 1 is a workspace; more are a group."""

    name: str
    count: int = 1
    allocation: Allocation
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...] = ()
    context: Context = Context()
    hardware: Hardware = Hardware()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """One request; all or nothing. One part is a workspace or a group, several (or ``ensemble``) are an ensemble.

    ``duration`` None means the site's default (seconds). ``start_within`` bounds the wait for resources (seconds),
    ``start_by`` is the same as a time of day, as the client gave it.
    ``preemptable`` says that it may be ended early for others, and may use what is left over.
    ``ready_within`` asks for a ready barrier: Running only when all guests have said within so many seconds of their
    start that they are ready.
    ``join`` is the id of an open ensemble to add to; ``open`` starts one that is launched by Done.
    """

    name: str
    parts: tuple[Part, ...]
    duration: int | None = None
    start_within: int | None = None
    start_by: datetime | None = None
    initial_state: InitialState = InitialState.RUNNING
    end_action: EndAction = EndAction.TRASH
    save_uri: str | None = None
    token: str | None = None
    join: str | None = None
    open: bool = False
    preemptable: bool = False
    ready_within: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The answer: every EPR at once. The first resource is the whole: ensemble, group or workspace."""

    lease_id: str
    resources: tuple[tuple[str, ResourceKey], ...]
    ends_at: datetime | None
    subscriptions: Mapping[ResourceKey, str] = field(default_factory=dict)  # ids, when the request subscribed


@dataclass(frozen=True, slots=True, kw_only=True)
class Valid:
    """A request that would be granted: how many workspaces, for how many seconds, and why it would have to wait."""

    workspaces: int
    duration: int
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """When a request would start (None: nobody can say) and why not at once; ``starts_in`` is seconds."""

    starts_in: float | None
    starts_at: datetime | None
    reason: str

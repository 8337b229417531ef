"""Pilot jobs, slots and who uses them: plain frozen values. Times are aware UTC datetimes, memory MB, times seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.states import JobState, SlotState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """``nodes`` nodes of one size: what each must have for the slot that is to be on it."""

    nodes: int
    memory_mb: int
    cpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotJob:
    """One job of the LRM, named ``fl-<tag>``; its slots are ranked through its components, in their order.

    ``claim`` is the key it was asked for, empty when it was asked for ahead of need. ``epoch`` grows when the LRM
    starts it anew. ``unwanted`` is the durable wish to be rid of it, ``reason`` why (or why it waits, or how it ended).
    """

    tag: str
    claim: str
    components: tuple[Component, ...]
    seconds: int  # the limit the LRM is asked for
    secret: str = field(repr=False)  # the job's key, in hex; in the job's script and nowhere else outside
    requested_at: datetime
    state: JobState = JobState.REQUESTED
    epoch: int = 1
    lrm_id: str | None = None
    native: str = ""  # the LRM's own word for its state
    reason: str = ""
    unwanted: bool = False
    submitted_at: datetime | None = None
    listed_at: datetime | None = None  # when the LRM first listed it
    started_at: datetime | None = None
    starts_at: datetime | None = None  # the LRM's estimate
    ends_at: datetime | None = None  # when the LRM's limit is up
    over_at: datetime | None = None
    attempts: int = 0  # submits or cancels that failed in a row
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one pilot holds on one node."""

    job: str
    rank: int
    memory_mb: int
    cpus: int
    state: SlotState = SlotState.UNBOUND
    epoch: int = 1
    node: str | None = None
    incarnation: str = ""  # the pilot's own random word: tells a repeated first report from another pilot
    secret: str = field(default="", repr=False)  # the slot's key, in hex
    sequence: int = 0  # of the last report that was stored
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the pilot told of its node
    bound_at: datetime | None = None
    ready_at: datetime | None = None
    heard_at: datetime | None = None  # last durable report
    deadline: datetime | None = None  # when the pilot ends it by its own clock
    over_at: datetime | None = None
    version: int = 1

    @property
    def id(self) -> str:
        """Its name: the job's tag and the rank."""
        return f"{self.job}.{self.rank}"

    @property
    def place(self) -> str:
        """What the rest of the service calls the place it gives."""
        return f"{self.id}@{self.node or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One member of a claim on one slot."""

    claim: str
    member: str
    slot: str  # the slot's id
    memory_mb: int
    cpus: int
    preemptable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """One report, kept as it came: the record of a slot's whole life."""

    slot: str
    epoch: int
    sequence: int
    kind: str
    at: datetime
    sent_ms: int  # by the pilot's clock, milliseconds since 1970
    body: Mapping[str, Any]
    effect: str = ""  # what it changed, or why it changed nothing

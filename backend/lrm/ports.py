"""What the LRM back-end needs of storage, as Protocols; ``store/`` implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from flyinglow.backend.lrm.model import Assignment, PilotJob, Slot, Trail

T = TypeVar("T")


class JobRows(Protocol):
    """Pilot jobs."""

    def add(self, job: PilotJob) -> None:
        """Insert a new job."""

    def get(self, tag: str) -> PilotJob | None:
        """Return the job or None."""

    def select(self, *, claim: str | None = None, living: bool | None = None) -> list[PilotJob]:
        """Return jobs, oldest first; ``living`` = not over."""

    def write(self, old: PilotJob, new: PilotJob) -> PilotJob:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""

    def purge(self, before: datetime) -> int:
        """Forget jobs over since before then, with their slots, assignments and trails; return how many."""


class SlotRows(Protocol):
    """Slots."""

    def add(self, slots: Sequence[Slot]) -> None:
        """Insert new slots."""

    def get(self, slot_id: str) -> Slot | None:
        """Return the slot or None."""

    def select(
        self, *, job: str | None = None, ids: Sequence[str] | None = None, living: bool | None = None
    ) -> list[Slot]:
        """Return slots by job and rank; ``living`` = not over (an Unbound one lives)."""

    def write(self, old: Slot, new: Slot) -> Slot:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""


class AssignmentRows(Protocol):
    """Which member is on which slot."""

    def add(self, rows: Sequence[Assignment]) -> None:
        """Insert."""

    def select(self, *, claim: str | None = None, slots: Sequence[str] | None = None) -> list[Assignment]:
        """Return assignments; without arguments all of them."""

    def remove(self, *, claim: str) -> None:
        """Forget a claim's; none is no error."""


class TrailRows(Protocol):
    """Reports as they came."""

    def add(self, rows: Sequence[Trail]) -> None:
        """Insert."""

    def of(self, slot_id: str) -> list[Trail]:
        """Return a slot's, in the order in which they came."""


class MarkRows(Protocol):
    """Small durable facts by name, for example how far a spool was read."""

    def get(self, name: str) -> str | None:
        """Return it or None."""

    def put(self, name: str, value: str) -> None:
        """Set it."""


class LrmTx(Protocol):
    """One transaction over all that the back-end needs."""

    @property
    def jobs(self) -> JobRows:
        """Return the pilot jobs."""

    @property
    def slots(self) -> SlotRows:
        """Return the slots."""

    @property
    def assignments(self) -> AssignmentRows:
        """Return the assignments."""

    @property
    def trails(self) -> TrailRows:
        """Return the reports."""

    @property
    def marks(self) -> MarkRows:
        """Return the marks."""


class Ledger(Protocol):
    """The only road to storage, from the reactor. A function may be run again, so it has no other effects."""

    def run(self, fn: Callable[[Any], T], *, step: str | None = None) -> Awaitable[T]:
        """Run one writing transaction."""

    def read(self, fn: Callable[[Any], T]) -> Awaitable[T]:
        """Run one read-only transaction."""

"""The tables of the LRM back-end: pilot jobs, their slots, who uses them, what pilots said, and marks.

Beside ``tables.py``, in the same metadata and under the same rules. Whatever hangs on a job goes with it when the job
is purged. Words that come from outside (an LRM, a node) are kept without the few characters no database can hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, TypeDecorator, text

from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER
from flyinglow.store.tables import COUNTER, METADATA, Instant, where

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Dialect


class Words(TypeDecorator[str]):
    """Text from outside: a NUL, which PostgreSQL refuses, and half a surrogate pair become a replacement."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what can be stored."""
        return None if value is None else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return it as it is."""
        return value


def _not_in(states: Iterable[str]) -> str:
    return "state NOT IN ({})".format(", ".join(f"'{state}'" for state in sorted(states)))


JOB_LIVES = text(_not_in(JOB_OVER))
SLOT_LIVES = text(_not_in(SLOT_OVER))
JOB_IS_OVER = text("over_at IS NOT NULL")

PILOT_JOBS = Table(
    "pilot_jobs",
    METADATA,
    Column("tag", String(16), primary_key=True),
    Column("claim", String(64), nullable=False),
    Column("components", Text, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("secret", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("lrm_id", Text),
    Column("native", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("unwanted", Boolean, nullable=False),
    Column("submitted_at", Instant),
    Column("listed_at", Instant),
    Column("started_at", Instant),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("over_at", Instant),
    Column("attempts", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("ix_pilot_jobs_claim", "claim"),
    Index("ix_pilot_jobs_living", "requested_at", "tag", **where(JOB_LIVES)),
    Index("ix_pilot_jobs_over", "over_at", **where(JOB_IS_OVER)),
)

SLOTS = Table(
    "slots",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("job", ForeignKey("pilot_jobs.tag", ondelete="CASCADE"), nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
    Column("cpus", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("node", Words),
    Column("incarnation", Words, nullable=False),
    Column("secret", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("reason", Words, nullable=False),
    Column("facts", Text, nullable=False),
    Column("bound_at", Instant),
    Column("ready_at", Instant),
    Column("heard_at", Instant),
    Column("deadline", Instant),
    Column("over_at", Instant),
    Column("version", BigInteger, nullable=False),
    Index("ix_slots_job", "job", "rank", unique=True),
    Index("ix_slots_living", "job", "rank", **where(SLOT_LIVES)),
)

ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("claim", String(64), primary_key=True),
    Column("member", String(64), primary_key=True),
    Column("slot", ForeignKey("slots.id", ondelete="CASCADE"), nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
    Column("cpus", BigInteger, nullable=False),
    Column("preemptable", Boolean, nullable=False),
    Index("ix_assignments_slot", "slot"),
)

TRAILS = Table(
    "trails",
    METADATA,
    Column("position", COUNTER, primary_key=True, autoincrement=True),
    Column("slot", ForeignKey("slots.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Words, nullable=False),
    Column("at", Instant, nullable=False),
    Column("sent_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("effect", Words, nullable=False),
    Index("ix_trails_slot", "slot", "position"),
    sqlite_autoincrement=True,
)

MARKS = Table(
    "marks",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

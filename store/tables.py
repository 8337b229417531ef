"""The tables, as SQLAlchemy Core metadata: what the newest migration must arrive at.

Times are integers, microseconds since 1970 in UTC, so that both databases order and compare them alike. Values that
are only ever read whole (disks, context, stamps, bodies) are JSON text. Conditions of partial indexes stand here by
name, because SQLite uses such an index only for a query that repeats the condition word for word. The tables of the
LRM back-end are in ``slot_tables.py``, that of the context endpoint is in ``context_tables.py``, those of pull points
and of what was delivered are in ``notification_tables.py``, those of who may do what in ``access_tables.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from flyinglow.workspace.states import FINAL

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)

REVISION = "0009"
"""The newest migration; a store that bears it is opened without Alembic."""


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn a time into its number; a naive time raises TypeError."""
        return None if value is None else (value - EPOCH) // TICK

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Turn a number back into its time."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


HAS_TASK = text("task IS NOT NULL")
LIVING = text("state NOT IN ({})".format(", ".join(f"'{state}'" for state in sorted(FINAL))))
FINISHED = text("finished_at IS NOT NULL")
UNSENT = text("sent = 0")
UNJUDGED = text("unjudged = 1")
FREE = text("workspace_id IS NULL AND listed = 1")
SAVED_AT_END = text("end_action = 'save'")
LEASED = text("workspace_id IS NOT NULL")

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    },
)

COUNTER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows in INTEGER columns only


def where(condition: Any) -> dict[str, Any]:
    """Make an index partial, in the words of either database."""
    return {"sqlite_where": condition, "postgresql_where": condition}


WORKSPACES = Table(
    "workspaces",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tag", String(16), nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("lease_id", String(64), nullable=False),
    Column("launch_set", String(64), nullable=False),
    Column("group_id", String(64)),
    Column("ensemble_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("task", String(16)),
    Column("target", String(16)),
    Column("reason", Text, nullable=False),
    Column("node", Text),
    Column("memory_mb", BigInteger, nullable=False),
    Column("cpus", BigInteger, nullable=False),
    Column("disk_mb", BigInteger, nullable=False),
    Column("disks", Text, nullable=False),
    Column("nics", Text, nullable=False),
    Column("context", Text, nullable=False),
    Column("hardware", Text, nullable=False, server_default=text("''")),
    Column("initial_state", String(16), nullable=False),
    Column("end_action", String(16), nullable=False),
    Column("save_uri", Text),
    Column("end_uri", Text),
    Column("save_lead", BigInteger, nullable=False, server_default="0"),
    Column("saved", Text, nullable=False, server_default="{}"),
    Column("duration", BigInteger, nullable=False),
    Column("preemptable", Boolean, nullable=False, server_default=false()),
    Column("accepted_at", Instant, nullable=False),
    Column("start_by", Instant),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("ready_within", BigInteger),
    Column("ready_by", Instant),
    Column("warned", Boolean, nullable=False),
    Column("destroyed_at", Instant),
    Column("finished_at", Instant),
    Column("attempts", BigInteger, nullable=False),
    Column("stamps", Text, nullable=False),
    Column("seconds", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_workspaces_owner", "owner", "id"),
    Index("ix_workspaces_launch_set", "launch_set"),
    Index("ix_workspaces_group", "group_id"),
    Index("ix_workspaces_ensemble", "ensemble_id"),
    Index("ix_workspaces_state", "state"),
    Index("ix_workspaces_task", "id", **where(HAS_TASK)),
    Index("ix_workspaces_living", "ends_at", **where(LIVING)),
    Index("ix_workspaces_saving", "ends_at", **where(SAVED_AT_END)),
    Index("ix_workspaces_node", "node", **where(LIVING)),
    Index("ix_workspaces_finished", "finished_at", **where(FINISHED)),
)

COLLECTIONS = Table(
    "collections",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("lease_id", String(64), nullable=False),
    Column("ensemble_id", String(64)),
    Column("open", Boolean, nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("destroyed_at", Instant),
    Column("published", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_collections_owner", "kind", "owner", "id"),
    Index("ix_collections_ensemble", "ensemble_id"),
)

LEASES = Table(
    "leases",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("token", Text),
    Column("digest", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("resources", Text, nullable=False),
    UniqueConstraint("owner", "token"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", COUNTER, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("resource_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("topic", String(16), nullable=False),
    Column("owner", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("group_id", String(64)),
    Column("ensemble_id", String(64)),
    Column("sent", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("kind", "resource_id", "sequence"),
    Index("ix_events_unsent", "id", **where(UNSENT)),
    Index("ix_events_at", "at"),
    sqlite_autoincrement=True,
)

NODES = Table(
    "nodes",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("memory_mb", BigInteger, nullable=False),
    Column("cpus", BigInteger, nullable=False),
    Column("disk_mb", BigInteger, nullable=False),
    Column("networks", Text, nullable=False),
    Column("policy", String(16), nullable=False),
    Column("reach", Text, nullable=False),
)

HOLDS = Table(
    "holds",
    METADATA,
    Column("workspace_id", String(64), primary_key=True),
    Column("node", ForeignKey("nodes.name"), nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
    Column("cpus", BigInteger, nullable=False),
    Column("disk_mb", BigInteger, nullable=False),
    Index("ix_holds_node", "node", "memory_mb", "cpus", "disk_mb"),
)

POOLS = Table(
    "pools",
    METADATA,
    Column("network", Text, primary_key=True),
    Column("total", BigInteger, nullable=False),
    # how many of them are on lease: counting them at every Create would cost the more the fuller the site is
    Column("taken", BigInteger, nullable=False),
)

ADDRESSES = Table(
    "addresses",
    METADATA,
    Column("id", COUNTER, primary_key=True, autoincrement=True),
    Column("network", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("ip", String(64), nullable=False),
    Column("prefix", Integer, nullable=False),
    Column("mac", String(32), nullable=False),
    Column("hostname", Text, nullable=False),
    Column("gateway", Text),
    Column("dns", Text, nullable=False),
    Column("listed", Integer, nullable=False),
    Column("workspace_id", String(64)),
    UniqueConstraint("network", "ip"),
    Index("ix_addresses_free", "network", "position", **where(FREE)),
    Index("ix_addresses_leased", "network", "listed", "workspace_id", **where(LEASED)),
    Index("ix_addresses_workspace", "workspace_id", **where(LEASED)),
)

SUBSCRIPTIONS = Table(
    "subscriptions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("producer_kind", String(16), nullable=False),
    Column("producer_id", String(64), nullable=False),
    Column("consumer", Text, nullable=False),
    Column("consumer_host", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("filter_xml", Text, nullable=False),
    Column("topics", Text, nullable=False),
    Column("raw", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("failures", BigInteger, nullable=False),
    Column("failing_since", Instant),
    Column("retry_at", Instant),
    Column("last_error", Text, nullable=False),
    Column("paused_at", Instant),
    Column("pause_reason", Text, nullable=False, server_default=text("''")),
    Column("pull_point_id", String(64)),
    Index("ix_subscriptions_pull_point", "pull_point_id"),
    Index("ix_subscriptions_producer", "producer_id", "producer_kind"),
    Index("ix_subscriptions_ends", "ends_at"),
    Index("ix_subscriptions_owner", "owner"),
    Index("ix_subscriptions_host", "consumer_host"),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("position", COUNTER, primary_key=True, autoincrement=True),
    Column("subscription_id", ForeignKey("subscriptions.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", ForeignKey("events.id"), nullable=False),
    Column("unjudged", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("event_id", "subscription_id"),
    Index("ix_deliveries_queue", "subscription_id", "position"),
    Index("ix_deliveries_unjudged", "subscription_id", **where(UNJUDGED)),
    sqlite_autoincrement=True,
)

"""The tables of pull points, and of what was delivered; ``tables.py`` has those of subscriptions and deliveries.

Beside it, in the same metadata and under the same rules. A message in a pull point is kept as the XML that it will be
fetched as, for it need not be one of ours.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from flyinglow.store.tables import COUNTER, METADATA, Instant

PULL_POINTS = Table(
    "pull_points",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("fetched", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("ix_pull_points_owner", "owner"),
    Index("ix_pull_points_ends", "ends_at"),
)

PULL_MESSAGES = Table(
    "pull_messages",
    METADATA,
    Column("pull_point_id", ForeignKey("pull_points.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

DELIVERED = Table(
    "delivered",
    METADATA,
    # that of the row in deliveries which it was: so it can be put back where it stood
    Column("position", COUNTER, primary_key=True, autoincrement=False),
    Column("subscription_id", ForeignKey("subscriptions.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", ForeignKey("events.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Index("ix_delivered_log", "subscription_id", "position"),
    Index("ix_delivered_event", "event_id"),
    Index("ix_delivered_at", "at"),
)

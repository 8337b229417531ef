"""The tables of who may do what: shares, the accounts by which quotas are counted, and what was used."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text

from flyinglow.store.tables import METADATA, Instant

SHARES = Table(
    "shares",
    METADATA,
    Column("resource_id", String(64), primary_key=True),
    Column("grantee", Text, primary_key=True),
    Column("is_group", Boolean, primary_key=True),
    Column("level", String(16), nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
    Index("ix_shares_grantee", "grantee"),
)

# a row an owner whom a policy limits: locking it puts his creates in a line where the database would not
ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("policies", Text, nullable=False),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", BigInteger, nullable=False),
)

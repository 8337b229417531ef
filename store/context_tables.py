"""The table of the context endpoint: by which token each guest is known, and what it reported last.

Beside ``tables.py``, in the same metadata and under the same rules. A token itself is nowhere in the store.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from flyinglow.store.slot_tables import Words
from flyinglow.store.tables import METADATA, Instant

GUESTS = Table(
    "guests",
    METADATA,
    Column("workspace_id", String(64), primary_key=True),
    Column("token_hash", String(64), nullable=False),
    Column("status", String(8)),
    Column("message", Words, nullable=False),
    # "values" is a word of SQL's own
    Column("given", Text, nullable=False),
    Column("at", Instant),
    Index("ix_guests_token", "token_hash", unique=True),
)

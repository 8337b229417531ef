"""One at a time for what is counted before it is added to, until the transaction ends.

PostgreSQL lets two transactions count the same rows and each add one more; on SQLite writers have turns anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, bindparam, func, select, text

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_PASS = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("what"), text("0"), type_=BigInteger)))


def alone(connection: Connection, what: str) -> None:
    """Wait until no other transaction is at the same ``what``, and let none in until this one ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(_PASS, {"what": what})

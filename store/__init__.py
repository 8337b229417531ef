"""The only place that knows SQL: tables, repositories, transactions, the outbox, migrations.

``Store`` implements the ports of ``workspace/ports.py``, ``notification/ports.py`` and ``backend/lrm/ports.py`` over
SQLite (WAL) or PostgreSQL.
"""

from flyinglow.store.store import Store

__all__ = ["Store"]

"""Persistence: tables, repositories, units of work, the outbox and numbered migrations.

It implements the repository protocols of the services on SQLAlchemy, with SQLite in WAL mode by default and
PostgreSQL for sites. SQL is found nowhere else.
"""

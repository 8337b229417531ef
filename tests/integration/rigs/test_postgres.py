"""The private PostgreSQL answers, keeps databases apart and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy

from rigs.postgres import running_postgres


def test_databases_are_apart(new_postgres_url: Callable[[], str]) -> None:
    first, second = (sqlalchemy.create_engine(new_postgres_url()) for _ in range(2))
    with first.begin() as connection:
        connection.execute(sqlalchemy.text("create table only_here (n integer)"))
    assert sqlalchemy.inspect(first).get_table_names() == ["only_here"]
    assert sqlalchemy.inspect(second).get_table_names() == []
    first.dispose()
    second.dispose()


def test_nothing_is_left() -> None:
    with running_postgres() as server:
        process = Path("/proc") / (server.data / "postmaster.pid").read_text().split()[0]
        assert process.exists()
        folder = server.data.parent
    assert not process.exists()
    assert not folder.exists()

"""The migrations arrive at the tables as the code knows them, on both databases, and go back."""

from importlib.resources import files
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.store import Store
from flyinglow.store.revision import current
from flyinglow.store.tables import METADATA, REVISION
from rigs.store import OpenStore, noon, workspace


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(files("flyinglow.store").joinpath("migrations")))
    made.attributes["connection"] = connection
    return made


def test_the_newest_revision_is_the_one_the_code_expects() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [REVISION]


def test_a_migrated_store_has_the_tables_of_the_code(any_store: Store) -> None:
    with any_store._database.writing.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        assert current(connection) == REVISION


def test_partial_indexes_bear_the_conditions_of_the_code(any_store: Store) -> None:
    wanted = {
        str(index.name): str(index.dialect_options[dialect]["where"])
        for table in METADATA.tables.values()
        for index in table.indexes
        for dialect in ("sqlite",)
        if index.dialect_options[dialect]["where"] is not None
    }
    with any_store._database.writing.connect() as connection:
        dialect = connection.dialect.name
        found: dict[str, Any] = {
            str(index["name"]): index.get("dialect_options", {}).get(f"{dialect}_where")
            for table in METADATA.tables
            for index in inspect(connection).get_indexes(table)
        }
    assert len(wanted) == 8
    assert all(found[name] is not None for name in wanted)
    if dialect == "sqlite":
        assert {name: str(found[name]) for name in wanted} == wanted


def test_every_migration_can_be_undone(any_store: Store) -> None:
    with any_store._database.writing.connect() as connection, connection.begin():
        command.downgrade(config(connection), "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    any_store.migrate()
    any_store.call(lambda tx: tx.workspaces.add([workspace(1)]))


def test_a_migration_that_fails_leaves_the_store_as_it_was(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(store_url, now=noon)
    monkeypatch.setattr("alembic.operations.Operations.create_index", None)
    with pytest.raises(TypeError):
        store.migrate()
    monkeypatch.undo()
    with store._database.writing.connect() as connection:
        assert inspect(connection).get_table_names() == []
    store.migrate()
    store.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        Store(url, now=noon)


def test_a_folder_that_is_not_there_is_named(open_store: OpenStore) -> None:
    with pytest.raises(BrokenError, match=r"/nowhere/store\.db cannot be opened"):
        open_store("sqlite:////nowhere/store.db")

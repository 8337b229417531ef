"""The migrations arrive at the tables as the code knows them, on both databases, and go back."""

from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.store import Store
from flyinglow.store.revision import current
from flyinglow.store.tables import EPOCH, METADATA, REVISION, TICK
from flyinglow.workspace.model import Selection
from rigs.pilot_rows import pilot_job
from rigs.store import NOON, OpenStore, noon, workspace


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
    assert len(wanted) == 13
    assert all(found[name] is not None for name in wanted)
    if dialect == "sqlite":
        assert {name: str(found[name]) for name in wanted} == wanted


def test_every_migration_can_be_undone(any_store: Store) -> None:
    with any_store._database.writing.connect() as connection, connection.begin():
        command.downgrade(config(connection), "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    any_store.migrate()
    any_store.call(lambda tx: tx.workspaces.add([workspace(1)]))


OLD_WORKSPACE = (
    "INSERT INTO workspaces (id, tag, owner, name, part, lease_id, launch_set, state, reason, memory_mb, cpus, disk_mb,"
    " disks, nics, context, initial_state, end_action, duration, accepted_at, warned, attempts, stamps, seconds,"
    " version, sequence)"
    " VALUES (:id, :tag, 'local', 'w1', 'part', 'lease', 'lease', 'Unpropagated', '', 512, 1, 1024, '', '',"
    " '', 'Running', 'trash', 3600, :noon, false, 0, '{}', '{}', 3, 2)"
)


def test_rows_of_the_first_revision_are_kept(store_url: str) -> None:
    store, old = Store(store_url, now=noon), workspace(1, task=None, version=3, sequence=2)
    with store._database.writing.connect() as connection, connection.begin():
        command.upgrade(config(connection), "0001")
        values = {"id": old.id, "tag": old.tag, "noon": (NOON - EPOCH) // TICK}
        connection.execute(text(OLD_WORKSPACE), values)
        connection.execute(text("INSERT INTO pools VALUES ('public', 7, 3)"))
    store.migrate()
    assert store.view(lambda tx: tx.workspaces.select(Selection())) == [old]
    new = store.call(lambda tx: tx.workspaces.write(old, replace(old, preemptable=True, starts_at=NOON)))
    assert store.view(lambda tx: tx.workspaces.get(old.id)) == new
    store.call(lambda tx: tx.jobs.add(pilot_job(1)))
    with store._database.writing.connect() as connection, connection.begin():
        assert connection.execute(text("SELECT total, taken FROM pools")).one() == (7, 3)
        command.downgrade(config(connection), "0001")
        assert connection.execute(text("SELECT name FROM workspaces")).scalar_one() == "w1"
    store.close()


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

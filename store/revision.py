"""Which revision of the tables a database has, and how it comes to the newest."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from flyinglow.nodectl.errors import BrokenError
from flyinglow.store.engine import explain
from flyinglow.store.tables import REVISION

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

    from flyinglow.store.engine import Database

_VERSIONS = "alembic_version"


def migrate(database: Database) -> None:
    """Bring the tables to REVISION in one transaction; raises BrokenError when a newer Flying Low wrote them."""
    try:
        with database.write() as connection:
            found = current(connection)
            if found != REVISION:
                _upgrade(connection, found)
    except DBAPIError as error:
        raise explain(error) from error


def current(connection: Connection) -> str | None:
    """Return the revision of the tables, or None when there are none."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar_one_or_none()  # noqa: S608 - a constant


def _upgrade(connection: Connection, found: str | None) -> None:
    from alembic import command  # noqa: PLC0415 - a daemon whose store is up to date never needs it
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    with as_file(files("flyinglow.store").joinpath("migrations")) as folder:
        config = _config(str(folder), connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise BrokenError(
                f"the store has revision {found} of its tables, which is newer than {REVISION}, the newest this "
                "program knows; run the program that wrote it, or restore a backup",
            )
        command.upgrade(config, REVISION)


def _config(folder: str, connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

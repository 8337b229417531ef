"""The store between processes: who holds it, what a killed writer leaves, a database that does not answer."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.store import Store
from flyinglow.store.slot_tables import JOB_IS_OVER, JOB_LIVES, SLOT_LIVES
from flyinglow.workspace.model import Selection
from rigs.pilot_rows import pilot_job
from rigs.ports import free_port
from rigs.postgres import end_holders
from rigs.store import OpenStore, event, noon, workspace

ROOT = Path(__file__).parents[3]
OTHER = """
import os, signal, sys
from flyinglow.store import Store
from rigs.store import event, noon, workspace

def create(tx):
    tx.workspaces.add([workspace(1)])
    tx.outbox.add([event(1, 1)])
    if "inside" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)

def told(step):
    os.kill(os.getpid(), signal.SIGKILL)

store = Store(sys.argv[1], now=noon, committed=told if "after" in sys.argv else None)
store.lock()
print("locked", flush=True)
sys.stdin.readline()
store.call(create)
"""


def other(*arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", OTHER, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("where", "left"), [("inside", []), ("after", ["w1"])])
def test_a_killed_writer_leaves_all_or_nothing(
    open_store: OpenStore, store_url: str, where: str, left: list[str]
) -> None:
    store = open_store(store_url)
    with other(store_url, where) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(BrokenError, match=f"pid {process.pid}"):
            store.lock()
        process.communicate("go\n", timeout=180)
        assert process.returncode == -signal.SIGKILL

    def look(tx: Any) -> tuple[list[str], int]:
        return [row.name for row in tx.workspaces.select(Selection())], len(tx.outbox.unsent(9))

    assert store.view(look) == (left, len(left))
    deadline_free(store)
    store.call(lambda tx: tx.workspaces.add([workspace(2)]))


def deadline_free(store: Store) -> None:
    """Claim the store; PostgreSQL may need a moment to see that the other's connection is gone."""
    import time

    deadline = time.monotonic() + 30
    while True:
        try:
            store.lock()
            return
        except BrokenError:
            if time.monotonic() > deadline:
                raise


def test_a_database_that_is_not_there_may_come_back() -> None:
    store = Store(f"postgresql://x@127.0.0.1:{free_port()}/y", now=noon)
    with pytest.raises(TransientError):
        store.migrate()
    with pytest.raises(TransientError):
        store.call(lambda tx: tx.workspaces.census())
    with pytest.raises(TransientError):
        store.lock()
    store.close()


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 100)
    with pytest.raises(BrokenError):
        Store(f"sqlite:///{tmp_path}/store.db", now=noon).migrate()


def test_a_commit_waits_for_the_disk_unless_told_otherwise(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", now=noon)
    store.migrate()
    with store._database.writing.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    store.close()


PLANS = {
    "owner = 'x' AND destroyed_at IS NULL AND id > 'a' ORDER BY id LIMIT 100": "ix_workspaces_owner",
    "task IS NOT NULL ORDER BY id": "ix_workspaces_task",
    "launch_set = 'x' ORDER BY id": "ix_workspaces_launch_set",
    "group_id = 'x' ORDER BY id": "ix_workspaces_group",
    "ensemble_id = 'x' ORDER BY id": "ix_workspaces_ensemble",
}


def test_selections_use_their_indexes(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.call(lambda tx: tx.outbox.add([event(1, 1)]))
    connection = sqlite3.connect(tmp_path / "store.db")
    for condition, index in PLANS.items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM workspaces WHERE {condition}").fetchall()
        assert index in str(plan)
    connection.close()


SLOT_PLANS = {
    f"SELECT * FROM pilot_jobs WHERE {JOB_LIVES} ORDER BY requested_at, tag": "ix_pilot_jobs_living",
    f"SELECT * FROM pilot_jobs WHERE claim = 'x' AND {JOB_LIVES}": "ix_pilot_jobs_claim",
    f"DELETE FROM pilot_jobs WHERE {JOB_IS_OVER} AND over_at < 5": "ix_pilot_jobs_over",
    f"SELECT * FROM slots WHERE {SLOT_LIVES} ORDER BY job, rank": "ix_slots_living",
    "SELECT * FROM slots WHERE job = 'x' ORDER BY job, rank": "ix_slots_job",
    "SELECT * FROM assignments WHERE slot IN ('a', 'b')": "ix_assignments_slot",
    "SELECT * FROM trails WHERE slot = 'x' ORDER BY position": "ix_trails_slot",
}


def test_selections_of_slots_use_their_indexes(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.call(lambda tx: tx.jobs.add(pilot_job(1)))
    connection = sqlite3.connect(tmp_path / "store.db")
    for statement, index in SLOT_PLANS.items():
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall())
        assert index in plan
        assert "TEMP B-TREE" not in plan
    connection.close()


def test_a_claim_that_the_database_dropped_is_seen(open_store: OpenStore, postgres_url: str) -> None:
    store = open_store(postgres_url)
    assert not store.still_locked()
    store.lock()
    assert store.still_locked()
    end_holders(postgres_url)
    assert not store.still_locked()
    assert not store.still_locked()  # though the connection has been made anew
    open_store(postgres_url).lock()
    assert store.call(lambda tx: tx.workspaces.select(Selection())) == []


def test_a_claim_whose_file_was_taken_away_is_seen(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.lock()
    assert store.still_locked()
    (tmp_path / "store.db.lock").unlink()
    assert not store.still_locked()

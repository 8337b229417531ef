"""Stores for tests: on SQLite, and on each database in turn. Ask for the fixtures by importing them in a conftest."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flyinglow.notification.model import Subscription
from flyinglow.store import Store
from flyinglow.workspace.model import Allocation, Collection, Event, Kind, Nic, ResourceKey, Topic, Workspace
from rigs.postgres import find_binaries

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OpenStore = Callable[..., Store]


def noon() -> datetime:
    """Tell the same time for ever."""
    return NOON


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database, of each kind in turn; where PostgreSQL is missing the test fails."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    if find_binaries() is None:
        pytest.fail("PostgreSQL's server programs are not installed; see tools/system-packages.sh test")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """Give a function that opens (and migrates) a store: on SQLite unless given a URL; all are closed at the end."""
    with ExitStack() as opened:

        def open_(url: str | None = None, **options: Any) -> Store:
            options = {"now": noon, "durable": False, **options}
            store = Store(url or f"sqlite:///{tmp_path}/store.db", **options)
            opened.callback(store.close)
            store.migrate()
            return store

        yield open_


@pytest.fixture
def any_store(open_store: OpenStore, store_url: str) -> Store:
    """Give an empty store, on each database in turn."""
    return open_store(store_url)


@pytest.fixture
def sqlite_store(open_store: OpenStore) -> Store:
    """Give an empty store on SQLite."""
    return open_store()


def workspace(number: int, **changes: Any) -> Workspace:
    """Make a workspace; its id sorts by its number."""
    row = Workspace(
        id=f"{number:032x}",
        tag=f"t{number:07d}",
        owner="local",
        name=f"w{number}",
        part="part",
        lease_id="lease",
        launch_set="lease",
        allocation=Allocation(memory_mb=512, cpus=1, disk_mb=1024),
        duration=3600,
        accepted_at=NOON,
    )
    return replace(row, **changes)


def collection(number: int, kind: Kind = Kind.GROUP, **changes: Any) -> Collection:
    """Make a group or an ensemble."""
    key = ResourceKey(kind, f"{number:032x}")
    return replace(Collection(key=key, owner="local", name=f"c{number}", lease_id="lease", accepted_at=NOON), **changes)


def event(number: int, sequence: int, **changes: Any) -> Event:
    """Make a state event of workspace ``number``."""
    key = ResourceKey(Kind.WORKSPACE, f"{number:032x}")
    body = {"name": f"w{number}", "state": "Running", "reason": "größer"}
    made = Event(key=key, sequence=sequence, topic=Topic.STATE, owner="local", at=NOON, body=body)
    return replace(made, **changes)


def subscription(number: int, producer: int = 1, **changes: Any) -> Subscription:
    """Make a subscription to workspace ``producer``."""
    row = Subscription(
        id=f"s{number:03d}",
        owner="local",
        producer=ResourceKey(Kind.WORKSPACE, f"{producer:032x}"),
        consumer=f"http://Consumer{number}.example:8080/x",
        created_at=NOON + timedelta(seconds=number),
    )
    return replace(row, **changes)


def pool(network: str, size: int, first: int = 1) -> list[Nic]:
    """Make the addresses of a network."""
    return [
        Nic(
            network=network,
            ip=f"10.0.{n // 256}.{n % 256}",
            prefix=16,
            mac=f"02:00:00:00:{n // 256:02x}:{n % 256:02x}",
            hostname=f"h{n}",
            gateway="10.0.0.254",
            dns=("10.0.0.253", "10.0.0.252"),
        )
        for n in range(first, first + size)
    ]

"""The rows of workspaces keep what they are given, find it by every selection, and are written by one writer only."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flyinglow.store import Store
from flyinglow.workspace.model import (
    Allocation,
    Context,
    Disk,
    EndAction,
    File,
    InitialState,
    Kind,
    Nic,
    ResourceKey,
    Selection,
    Workspace,
)
from flyinglow.workspace.ports import StaleError
from flyinglow.workspace.states import State, Task
from rigs.store import NOON, event, subscription, workspace

FULL = workspace(
    7,
    group_id="g",
    ensemble_id="e",
    state=State.RUNNING,
    task=Task.RECLAIMING,
    target=State.CORRUPTED,
    reason="node n1 did not answer",
    node="n1",
    allocation=Allocation(memory_mb=2**40, cpus=8, disk_mb=0),
    disks=(
        Disk(name="root", image="debian"),
        Disk(name="data", blank_mb=10, mount="/data", read_only=True),
        Disk(
            name="own",
            image="https://a.example/x",
            sha256="ab" * 32,
            format="raw",
            size_mb=3,
            kernel_from="debian",
            public=True,
        ),
    ),
    nics=(
        Nic(network="public", name="eth0", ip="10.0.0.1", prefix=24, mac="02::1", hostname="h", dns=("a", "b")),
        Nic(network="private", gateway="10.1.0.1"),
    ),
    context=Context(
        provides=("ce",),
        requires=("se", "wn"),
        keys=("ssh-rsa AAA",),
        user_data=bytes(range(256)),
        files=(File(path="/etc/x", content=b"\0\xff", mode=0o600), File(path="/y", content=b"")),
    ),
    initial_state=InitialState.PAUSED,
    end_action=EndAction.SAVE,
    save_uri="gsiftp://x/y",
    end_uri="store:mine/ce.qcow2",
    save_lead=94,
    saved={"target": "file:///store/ce", "sha256": "ab" * 32, "bytes": 2**40, "said": "\ud800"},
    preemptable=True,
    start_by=NOON + timedelta(microseconds=1),
    starts_at=NOON + timedelta(hours=2),
    ends_at=NOON + timedelta(days=4000),
    warned=True,
    destroyed_at=NOON - timedelta(days=30000),
    finished_at=NOON,
    attempts=3,
    stamps={"accepted": NOON, "image": NOON + timedelta(microseconds=999)},
    seconds={"image": 0.25},
    sequence=12,
)


def add(store: Store, *rows: Workspace) -> None:
    store.call(lambda tx: tx.workspaces.add(rows))


def found(store: Store, **wanted: Any) -> list[str]:
    return [row.name for row in store.view(lambda tx: tx.workspaces.select(Selection(**wanted)))]


def test_a_row_comes_back_as_it_was(any_store: Store) -> None:
    add(any_store, FULL, workspace(8))
    assert any_store.view(lambda tx: tx.workspaces.get(FULL.id)) == FULL
    assert any_store.view(lambda tx: tx.workspaces.get(workspace(8).id)) == workspace(8)
    assert any_store.view(lambda tx: tx.workspaces.get("unknown")) is None


def test_adding_nothing_is_nothing(any_store: Store) -> None:
    add(any_store)
    assert found(any_store) == []


def test_write_keeps_every_change(any_store: Store) -> None:
    add(any_store, workspace(7))
    stored = any_store.call(lambda tx: tx.workspaces.write(workspace(7), FULL))
    assert stored == replace(FULL, version=2)
    assert any_store.view(lambda tx: tx.workspaces.get(FULL.id)) == stored


def test_write_can_take_back_to_nothing(any_store: Store) -> None:
    add(any_store, FULL)
    any_store.call(lambda tx: tx.workspaces.write(FULL, workspace(7)))
    assert any_store.view(lambda tx: tx.workspaces.get(FULL.id)) == replace(workspace(7), version=2)


def test_write_refuses_an_old_version(any_store: Store) -> None:
    old = workspace(1)
    add(any_store, old)
    any_store.call(lambda tx: tx.workspaces.write(old, replace(old, reason="first")))
    with pytest.raises(StaleError):
        any_store.call(lambda tx: tx.workspaces.write(old, replace(old, reason="second")))
    assert any_store.view(lambda tx: tx.workspaces.get(old.id)).reason == "first"


def test_write_refuses_a_row_that_is_gone(any_store: Store) -> None:
    with pytest.raises(StaleError):
        any_store.call(lambda tx: tx.workspaces.write(workspace(1), workspace(1)))


@pytest.mark.parametrize("twin", [{"id": workspace(2).id, "tag": workspace(1).tag}, {"id": workspace(1).id}])
def test_ids_and_tags_are_unique(any_store: Store, twin: dict[str, Any]) -> None:
    add(any_store, workspace(1))
    with pytest.raises(StaleError):
        add(any_store, replace(workspace(3), **twin))
    assert found(any_store) == ["w1"]


ROWS = (
    workspace(1, owner="ann", launch_set="s1", node="n1", group_id="g1"),
    workspace(2, owner="bob", task=None, state=State.RUNNING, ends_at=NOON, ensemble_id="e1", group_id="g1"),
    workspace(3, owner="bob", task=None, state=State.ENDED, finished_at=NOON, ends_at=NOON - timedelta(hours=1)),
    workspace(4, owner="bob", task=Task.RECLAIMING, destroyed_at=NOON, ends_at=NOON + timedelta(seconds=1)),
    workspace(5, owner="bob", task=None, state=State.CORRUPTED, finished_at=NOON + timedelta(hours=1), node="n1"),
)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["w1", "w2", "w3", "w4", "w5"]),
        ({"ids": (ROWS[4].id, ROWS[0].id, "unknown")}, ["w1", "w5"]),
        ({"ids": ()}, []),
        ({"ids": tuple(row.id for row in ROWS), "owner": "bob", "limit": 2}, ["w2", "w3"]),
        ({"tags": (ROWS[2].tag, ROWS[1].tag)}, ["w2", "w3"]),
        ({"tags": ()}, []),
        ({"owner": "ann"}, ["w1"]),
        ({"group_id": "g1"}, ["w1", "w2"]),
        ({"ensemble_id": "e1"}, ["w2"]),
        ({"launch_set": "s1"}, ["w1"]),
        ({"node": "n1"}, ["w1", "w5"]),
        ({"node": "n1", "living": True}, ["w1"]),
        ({"with_task": True}, ["w1", "w4"]),
        ({"with_task": False}, ["w2", "w3", "w5"]),
        ({"living": True}, ["w1", "w2", "w4"]),
        ({"living": False}, ["w3", "w5"]),
        ({"visible": True}, ["w1", "w2", "w3", "w5"]),
        ({"visible": False}, ["w4"]),
        ({"ends_before": NOON}, ["w2", "w3"]),
        ({"ends_before": NOON, "living": True}, ["w2"]),
        ({"finished_before": NOON}, ["w3"]),
        ({"after": ROWS[2].id}, ["w4", "w5"]),
        ({"owner": "bob", "after": ROWS[1].id, "limit": 2}, ["w3", "w4"]),
        ({"limit": 0}, []),
    ],
)
def test_every_selection_finds_what_it_says(any_store: Store, wanted: dict[str, Any], names: list[str]) -> None:
    add(any_store, *reversed(ROWS))
    assert found(any_store, **wanted) == names


def test_more_ids_than_one_statement_takes(any_store: Store) -> None:
    add(any_store, *(workspace(n) for n in range(1, 2503)))
    ids = tuple(workspace(n).id for n in range(2502, 1, -1))
    assert found(any_store, ids=ids) == [f"w{n}" for n in range(2, 2503)]
    any_store.call(lambda tx: tx.workspaces.purge(ids))
    assert found(any_store) == ["w1"]


def test_purge_takes_the_subscriptions_along(any_store: Store) -> None:
    def fill(tx: Any) -> None:
        tx.workspaces.add([workspace(1), workspace(2)])
        tx.subscriptions.add(subscription(1, producer=1))
        tx.subscriptions.add(subscription(2, producer=2))
        tx.outbox.add([event(1, 1)])
        tx.deliveries.enqueue([("s001", tx.added[0].id)])

    any_store.call(fill)
    group = replace(subscription(4), producer=ResourceKey(Kind.GROUP, workspace(1).id))
    any_store.call(lambda tx: tx.subscriptions.add(group))
    any_store.call(lambda tx: tx.workspaces.purge([workspace(1).id]))
    assert any_store.view(lambda tx: tx.subscriptions.get("s001")) is None
    assert any_store.view(lambda tx: tx.subscriptions.get("s002")) is not None
    assert any_store.view(lambda tx: tx.subscriptions.get("s004")) == group
    assert any_store.view(lambda tx: tx.deliveries.waiting()) == []


def test_census_counts_by_state(any_store: Store) -> None:
    add(any_store, *ROWS)
    assert any_store.view(lambda tx: tx.workspaces.census()) == {
        "Unpropagated": 2,
        "Running": 1,
        "Ended": 1,
        "Corrupted": 1,
    }


def test_those_that_are_saved_at_their_end_are_found(any_store: Store) -> None:
    add(any_store, workspace(1), workspace(2, end_action=EndAction.SAVE))
    saved = workspace(2).name
    assert found(any_store, saved_at_end=True, living=True, with_task=True) == [saved]
    assert found(any_store, saved_at_end=False) == [workspace(1).name]

"""Collections, leases, nodes and subscriptions, verb by verb, on both databases."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from flyinglow.backend.api import NodePolicy, NodeState
from flyinglow.nodectl.errors import ConflictError, UnknownError
from flyinglow.notification.model import Subscription
from flyinglow.store import Store
from flyinglow.workspace.model import Kind, Lease, ResourceKey
from flyinglow.workspace.ports import StaleError
from rigs.store import NOON, collection, event, subscription

LEASE = Lease(
    id="l1",
    owner="ann",
    token="t1",
    digest="d",
    created_at=NOON,
    resources=(("cluster", ResourceKey(Kind.ENSEMBLE, "e")), ("ce", ResourceKey(Kind.WORKSPACE, "w"))),
)
NODE = NodeState(
    name="n1",
    memory_mb=4096,
    cpus=4,
    disk_mb=10_000,
    networks={"public": "br0", "private": None},
    reach={"channel": "ssh", "port": 22},
)


def add_lease(lease: Lease, tx: Any) -> None:
    tx.leases.add(lease)


def add_subscription(row: Subscription, tx: Any) -> None:
    tx.subscriptions.add(row)


class TestCollections:
    def test_a_row_comes_back_as_it_was(self, any_store: Store) -> None:
        rows = [
            collection(1),
            collection(
                2,
                Kind.ENSEMBLE,
                ensemble_id="e",
                open=True,
                ends_at=NOON,
                destroyed_at=NOON,
                published='{"state": "Running"}',
                sequence=4,
            ),
        ]
        any_store.call(lambda tx: tx.collections.add(rows))
        assert any_store.view(lambda tx: [tx.collections.get(row.key) for row in rows]) == rows
        assert any_store.call(lambda tx: tx.collections.get(rows[0].key)) == rows[0]
        assert any_store.view(lambda tx: tx.collections.get(ResourceKey(Kind.ENSEMBLE, rows[0].key.id))) is None

    def test_selections(self, any_store: Store) -> None:
        rows = [
            collection(3, owner="bob"),
            collection(2, ensemble_id="e"),
            collection(1, Kind.ENSEMBLE),
            collection(4, ensemble_id="e", destroyed_at=NOON),
        ]
        any_store.call(lambda tx: tx.collections.add(rows))
        any_store.call(lambda tx: tx.collections.add([]))

        def found(kind: Kind = Kind.GROUP, **wanted: Any) -> list[str]:
            return [row.name for row in any_store.view(lambda tx: tx.collections.select(kind, **wanted))]

        assert found(Kind.ENSEMBLE) == ["c1"]
        assert found() == ["c2", "c3", "c4"]
        assert found(owner="bob") == ["c3"]
        assert found(ensemble_id="e") == ["c2", "c4"]
        assert found(after=collection(2).key.id) == ["c3", "c4"]
        assert found(limit=2) == ["c2", "c3"]

    def test_write_compares_the_version(self, any_store: Store) -> None:
        old = collection(1, Kind.ENSEMBLE, open=True)
        any_store.call(lambda tx: tx.collections.add([old]))
        new = replace(old, open=False, published="x", sequence=3, destroyed_at=NOON)
        stored = any_store.call(lambda tx: tx.collections.write(old, new))
        assert stored == replace(new, version=2)
        assert any_store.view(lambda tx: tx.collections.get(old.key)) == stored
        with pytest.raises(StaleError):
            any_store.call(lambda tx: tx.collections.write(old, old))

    def test_purge(self, any_store: Store) -> None:
        rows = [collection(1), collection(1, Kind.ENSEMBLE), collection(2)]
        any_store.call(lambda tx: tx.collections.add(rows))
        any_store.call(lambda tx: tx.subscriptions.add(replace(subscription(1), producer=rows[0].key)))
        any_store.call(lambda tx: tx.subscriptions.add(replace(subscription(2), producer=rows[1].key)))
        any_store.call(lambda tx: tx.collections.purge([rows[0].key, rows[2].key]))
        assert any_store.view(lambda tx: tx.collections.select(Kind.GROUP)) == []
        assert any_store.view(lambda tx: tx.collections.select(Kind.ENSEMBLE)) == [rows[1]]
        assert any_store.view(lambda tx: tx.subscriptions.get("s001")) is None
        assert any_store.view(lambda tx: tx.subscriptions.get("s002")) is not None


class TestLeases:
    def test_found_by_id_and_by_token(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.leases.add(LEASE))
        assert any_store.view(lambda tx: tx.leases.get("l1")) == LEASE
        assert any_store.view(lambda tx: tx.leases.by_token("ann", "t1")) == LEASE
        assert any_store.view(lambda tx: tx.leases.by_token("bob", "t1")) is None
        assert any_store.view(lambda tx: tx.leases.get("l2")) is None

    def test_a_token_belongs_to_one_lease_of_an_owner(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.leases.add(LEASE))
        any_store.call(lambda tx: tx.leases.add(replace(LEASE, id="l2", owner="bob")))
        with pytest.raises(StaleError):
            any_store.call(lambda tx: tx.leases.add(replace(LEASE, id="l3")))

    def test_leases_without_a_token_do_not_meet(self, any_store: Store) -> None:
        for number in range(2):
            lease = replace(LEASE, id=f"l{number}", token=None, resources=())
            any_store.call(partial(add_lease, lease))
        assert any_store.view(lambda tx: tx.leases.get("l1")).resources == ()

    def test_purge(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.leases.add(LEASE))
        any_store.call(lambda tx: tx.leases.purge(["l1", "unknown"]))
        assert any_store.view(lambda tx: tx.leases.get("l1")) is None


class TestNodes:
    def test_put_inserts_and_replaces(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.nodes.put(NODE))
        any_store.call(lambda tx: tx.nodes.put(replace(NODE, name="n0")))
        drained = replace(NODE, policy=NodePolicy.DRAIN, memory_mb=1, networks={}, reach={})
        any_store.call(lambda tx: tx.nodes.put(drained))
        assert any_store.view(lambda tx: tx.nodes.all()) == [replace(NODE, name="n0"), drained]

    def test_free_is_total_less_what_is_held(self, any_store: Store) -> None:
        def fill(tx: Any) -> None:
            tx.nodes.put(NODE)
            tx.nodes.put(replace(NODE, name="n2"))
            tx.nodes.hold("n1", "w1", memory_mb=1000, cpus=1, disk_mb=100)
            tx.nodes.hold("n1", "w2", memory_mb=2000, cpus=2, disk_mb=200)

        any_store.call(fill)
        assert free(any_store) == {"n1": (1096, 1, 9700), "n2": (4096, 4, 10_000)}
        any_store.call(lambda tx: tx.nodes.free(["w1", "unknown"]))
        any_store.call(lambda tx: tx.nodes.free(["w1"]))
        assert free(any_store)["n1"] == (2096, 2, 9800)

    def test_holding_again_replaces(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.nodes.put(NODE))
        any_store.call(lambda tx: tx.nodes.put(replace(NODE, name="n2")))
        any_store.call(lambda tx: tx.nodes.hold("n1", "w1", memory_mb=1000, cpus=1, disk_mb=100))
        any_store.call(lambda tx: tx.nodes.hold("n2", "w1", memory_mb=96, cpus=2, disk_mb=0))
        assert free(any_store) == {"n1": (4096, 4, 10_000), "n2": (4000, 2, 10_000)}

    def test_nothing_can_be_held_on_an_unknown_node(self, any_store: Store) -> None:
        with pytest.raises(UnknownError):
            any_store.call(lambda tx: tx.nodes.hold("n9", "w1", memory_mb=1, cpus=1, disk_mb=1))

    def test_remove(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.nodes.put(NODE))
        any_store.call(lambda tx: tx.nodes.hold("n1", "w1", memory_mb=1, cpus=1, disk_mb=1))
        with pytest.raises(ConflictError) as refused:
            any_store.call(lambda tx: tx.nodes.remove("n1"))
        assert refused.value.figures == {"held": 1}
        any_store.call(lambda tx: tx.nodes.free(["w1"]))
        any_store.call(lambda tx: tx.nodes.remove("n1"))
        assert any_store.view(lambda tx: tx.nodes.all()) == []
        with pytest.raises(UnknownError):
            any_store.call(lambda tx: tx.nodes.remove("n1"))


def free(store: Store) -> dict[str, tuple[int, int, int]]:
    views = store.view(lambda tx: tx.nodes.view())
    return {view.node.name: (view.free_memory_mb, view.free_cpus, view.free_disk_mb) for view in views}


class TestSubscriptions:
    def test_a_row_comes_back_as_it_was(self, any_store: Store) -> None:
        full = subscription(
            1,
            parameters=("<a xmlns='x'/>", "<b/>"),
            filter_xml="<f/>",
            topics=("state", "warning"),
            raw=True,
            ends_at=NOON,
            failures=3,
            failing_since=NOON,
            retry_at=NOON,
            last_error="refused",
        )
        any_store.call(lambda tx: tx.subscriptions.add(full))
        any_store.call(lambda tx: tx.subscriptions.add(subscription(2)))
        assert any_store.view(lambda tx: tx.subscriptions.get("s001")) == full
        assert any_store.view(lambda tx: tx.subscriptions.get("s002")) == subscription(2)
        assert any_store.view(lambda tx: tx.subscriptions.get("s003")) is None

    def test_write_replaces_but_does_not_revive(self, any_store: Store) -> None:
        any_store.call(lambda tx: tx.subscriptions.add(subscription(1)))
        new = subscription(1, failures=1, retry_at=NOON, topics=("state",))
        any_store.call(lambda tx: tx.subscriptions.write(new))
        assert any_store.view(lambda tx: tx.subscriptions.get("s001")) == new
        any_store.call(lambda tx: tx.subscriptions.remove(["s001", "unknown"]))
        any_store.call(lambda tx: tx.subscriptions.write(new))
        assert any_store.view(lambda tx: tx.subscriptions.get("s001")) is None

    def test_remove_takes_the_deliveries_along(self, any_store: Store) -> None:
        def fill(tx: Any) -> None:
            tx.subscriptions.add(subscription(1))
            tx.outbox.add([event(1, 1)])
            tx.deliveries.enqueue([("s001", tx.added[0].id)])

        any_store.call(fill)
        any_store.call(lambda tx: tx.subscriptions.remove(["s001"]))
        assert any_store.view(lambda tx: tx.deliveries.waiting()) == []

    def test_those_of_some_producers(self, any_store: Store) -> None:
        rows = [subscription(3, producer=2), subscription(1, producer=1), subscription(2, producer=1)]
        group = replace(subscription(4), producer=ResourceKey(Kind.GROUP, rows[1].producer.id))
        for row in (*rows, group):
            any_store.call(partial(add_subscription, row))

        def of(*producers: ResourceKey) -> list[str]:
            return [row.id for row in any_store.view(lambda tx: tx.subscriptions.of(producers))]

        assert of() == []
        assert of(rows[1].producer) == ["s001", "s002"]
        assert of(rows[1].producer, rows[0].producer) == ["s001", "s002", "s003"]
        assert of(group.producer) == ["s004"]

    def test_expired(self, any_store: Store) -> None:
        for number, ends_at in enumerate((None, NOON, NOON + timedelta(microseconds=1))):
            any_store.call(partial(add_subscription, subscription(number, ends_at=ends_at)))
        assert [row.id for row in any_store.view(lambda tx: tx.subscriptions.expired(NOON))] == ["s001"]

    def test_count(self, any_store: Store) -> None:
        consumers = ("http://A.example/x", "https://a.EXAMPLE:99/y", "http://[::1]:80/")
        for number, consumer in enumerate(consumers):
            row = subscription(number, consumer=consumer, owner="ann" if number else "bob")
            any_store.call(partial(add_subscription, row))
            again = replace(row, id=f"again{number}", producer=ResourceKey(Kind.GROUP, "g"))
            any_store.call(partial(add_subscription, again))  # made by the same request

        def count(**wanted: str) -> int:
            counted: int = any_store.view(lambda tx: tx.subscriptions.count_requests(**wanted))
            return counted

        assert count() == 3
        assert count(owner="ann") == 2
        assert count(consumer_host="A.example") == 2
        assert count(consumer_host="::1") == 1
        assert count(owner="bob", consumer_host="a.example") == 1

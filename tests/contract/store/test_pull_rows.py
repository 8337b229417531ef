"""Pull points and delivery logs as rows, on each database."""

from datetime import timedelta
from typing import Any

from flyinglow.notification.model import PullPoint
from flyinglow.store import Store
from rigs.store import NOON, event, subscription

POINT = PullPoint(id="p1", owner="local", created_at=NOON, ends_at=NOON + timedelta(hours=1))


def _fill(tx: Any) -> list[int]:
    tx.outbox.add([event(1, number) for number in range(1, 7)])
    tx.subscriptions.add(subscription(1))
    ids = [each.id for each in tx.added]
    tx.deliveries.enqueue([("s001", id_) for id_ in ids])
    return ids


def _done(store: Store, count: int, failures: int = 0) -> None:
    def note(tx: Any) -> None:
        head = tx.deliveries.head("s001", count)
        tx.deliveries.done([sent.position for sent in head], NOON, failures)

    store.call(note)


def _waiting(store: Store) -> list[int]:
    return [sent.event.sequence for sent in store.view(lambda tx: tx.deliveries.head("s001", 99))]


def test_what_is_done_is_in_the_log_and_can_be_put_back_where_it_stood(any_store: Store) -> None:
    any_store.call(_fill)
    first = any_store.view(lambda tx: tx.deliveries.head("s001", 6))
    _done(any_store, 4, failures=2)
    log = any_store.view(lambda tx: tx.deliveries.log("s001", 3))
    assert [(entry.event.sequence, entry.failures, entry.at) for entry in log] == [(n, 2, NOON) for n in (2, 3, 4)]
    assert [entry.message_id for entry in log] == [sent.message_id for sent in first[1:4]]
    assert any_store.call(lambda tx: tx.deliveries.again("s001", log[1].number)) == 2
    again = any_store.view(lambda tx: tx.deliveries.head("s001", 99))
    assert [(sent.event.sequence, sent.message_id) for sent in again] == [
        (sent.event.sequence, sent.message_id) for sent in first[2:]
    ]
    assert any_store.call(lambda tx: tx.deliveries.again("s002", 0)) == 0


def test_what_is_put_back_while_others_are_under_way_stays(any_store: Store) -> None:
    any_store.call(_fill)
    _done(any_store, 2)
    under_way = [sent.position for sent in any_store.view(lambda tx: tx.deliveries.head("s001", 2))]
    any_store.call(lambda tx: tx.deliveries.again("s001", 0))
    any_store.call(lambda tx: tx.deliveries.done(under_way, NOON, 0))
    assert _waiting(any_store) == [1, 2, 5, 6]


def test_what_waits_for_its_filter_holds_back_what_follows_it(any_store: Store) -> None:
    def fill(tx: Any) -> None:
        tx.outbox.add([event(1, number) for number in range(1, 5)])
        for number, more in ((1, {}), (2, {"owner": "bob"}), (3, {"paused_at": NOON})):
            tx.subscriptions.add(subscription(number, **more))
        ids = [each.id for each in tx.added]
        pairs = [(name, id_) for id_ in ids for name in ("s001", "s002", "s003")]
        tx.deliveries.enqueue(pairs, {("s002", ids[0]), ("s003", ids[0]), ("s001", ids[1]), ("s001", ids[2])})

    any_store.call(fill)
    assert any_store.view(lambda tx: tx.deliveries.unjudged()) == [("bob", "s002"), ("local", "s001")]
    assert _waiting(any_store) == [1]
    heads = any_store.view(lambda tx: tx.deliveries.heads({"s001": 9, "s002": 9}))
    assert {name: [sent.event.sequence for sent in found] for name, found in heads.items() if found} == {"s001": [1]}
    second, third = any_store.view(lambda tx: tx.deliveries.to_judge("s001", 9))
    assert [each.event.sequence for each in (second, third)] == [2, 3]
    any_store.call(lambda tx: tx.deliveries.judged([third.position], [second.position]))
    assert _waiting(any_store) == [1, 3, 4]
    assert any_store.view(lambda tx: tx.deliveries.count("s002")) == 4


def test_the_log_is_bounded_by_age_and_by_number(any_store: Store) -> None:
    any_store.call(_fill)
    _done(any_store, 5)
    any_store.call(lambda tx: tx.deliveries.forget(NOON, 3))
    assert [entry.event.sequence for entry in any_store.view(lambda tx: tx.deliveries.log("s001", 9))] == [3, 4, 5]
    any_store.call(lambda tx: tx.deliveries.forget(NOON + timedelta(seconds=1), 3))
    assert any_store.view(lambda tx: tx.deliveries.log("s001", 9)) == []


def test_a_pull_point_keeps_numbered_messages_and_takes_all_along_when_it_goes(any_store: Store) -> None:
    def make(tx: Any) -> None:
        tx.pull_points.add(POINT)
        tx.pull_points.append("p1", 1, ["<a/>", "<bü/>", "<ccc/>"])
        tx.subscriptions.add(subscription(1, pull_point_id="p1"))
        tx.subscriptions.add(subscription(2))

    any_store.call(make)
    read = any_store.view(lambda tx: (tx.pull_points.get("p1"), tx.pull_points.after("p1", 1, 9)))
    assert read == (POINT, [(2, "<bü/>"), (3, "<ccc/>")])
    assert any_store.view(lambda tx: tx.pull_points.sizes("p1", 2)) == [(1, 4), (2, 5)]
    any_store.call(lambda tx: tx.pull_points.drop("p1", 3))
    assert any_store.view(lambda tx: tx.pull_points.after("p1", 0, 9)) == [(3, "<ccc/>")]
    assert any_store.view(lambda tx: (tx.pull_points.count("local"), tx.pull_points.count("bob"))) == (1, 0)
    assert any_store.view(lambda tx: tx.pull_points.expired(NOON + timedelta(hours=1))) == ["p1"]
    assert any_store.view(lambda tx: tx.pull_points.expired(NOON)) == []
    any_store.call(lambda tx: tx.pull_points.remove(["p1", "unknown"]))
    assert any_store.view(lambda tx: (tx.pull_points.get("p1"), tx.pull_points.after("p1", 0, 9))) == (None, [])
    assert any_store.view(lambda tx: [tx.subscriptions.get(name) is None for name in ("s001", "s002")]) == [True, False]

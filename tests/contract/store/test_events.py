"""The outbox and the deliveries out of it, on both databases."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from flyinglow.store import Store
from flyinglow.workspace.model import Event, Topic
from flyinglow.workspace.ports import StaleError
from rigs.store import NOON, event, subscription


def add(store: Store, *events: Event) -> list[int]:
    def adding(tx: Any) -> list[int]:
        tx.outbox.add(events)
        return [added.id for added in tx.added]

    return store.call(adding)


def unsent(store: Store, limit: int = 100) -> list[Event]:
    events: list[Event] = store.view(lambda tx: tx.outbox.unsent(limit))
    return events


def test_events_come_back_as_they_were_with_ids_that_grow(any_store: Store) -> None:
    written = [
        event(1, 1),
        event(2, 1, topic=Topic.WARNING, group_id="g", ensemble_id="e", body={}),
        event(1, 2, body={"nics": [{"ip": "10.0.0.1"}], "n": 1.5, "none": None}, at=NOON + timedelta(microseconds=1)),
    ]
    ids = add(any_store, written[0]) + add(any_store, *written[1:])
    assert ids == sorted(set(ids))
    assert [event_.id for event_ in unsent(any_store)] == ids
    assert [Event(**{**fields(event_), "id": 0}) for event_ in unsent(any_store)] == written
    assert unsent(any_store, 1) == unsent(any_store)[:1]
    assert add(any_store) == []


def fields(event_: Event) -> dict[str, Any]:
    return {name: getattr(event_, name) for name in Event.__dataclass_fields__}


def test_many_events_keep_their_order(any_store: Store) -> None:
    ids = add(any_store, *(event(n, 1) for n in range(3000)))
    assert ids == sorted(ids)
    assert [event_.body["name"] for event_ in unsent(any_store, 3000)] == [f"w{n}" for n in range(3000)]


def test_a_sequence_number_is_given_once(any_store: Store) -> None:
    add(any_store, event(1, 1))
    with pytest.raises(StaleError):
        add(any_store, event(1, 1, topic=Topic.SCHEDULE))


def test_what_is_marked_is_not_unsent(any_store: Store) -> None:
    ids = add(any_store, *(event(1, n) for n in range(3)))
    any_store.call(lambda tx: tx.outbox.mark_sent([ids[0], ids[2]]))
    assert [event_.id for event_ in unsent(any_store)] == [ids[1]]
    any_store.call(lambda tx: tx.outbox.mark_sent([]))


def test_the_latest_on_a_topic(any_store: Store) -> None:
    add(any_store, event(1, 1), event(1, 2), event(1, 3, topic=Topic.SCHEDULE), event(2, 9))
    found = any_store.view(lambda tx: tx.outbox.latest(event(1, 1).key, "state"))
    assert (found.key, found.sequence) == (event(1, 1).key, 2)
    assert any_store.view(lambda tx: tx.outbox.latest(event(1, 1).key, Topic.WARNING)) is None


def test_purge_spares_the_new_the_unsent_and_the_undelivered(any_store: Store) -> None:
    ids = add(any_store, *(event(1, n) for n in range(4)), event(1, 4, at=NOON + timedelta(hours=1)))

    def hand_on(tx: Any) -> None:
        tx.subscriptions.add(subscription(1))
        tx.deliveries.enqueue([("s001", ids[0]), ("s001", ids[1])])
        tx.outbox.mark_sent([ids[0], ids[1], ids[2], ids[4]])

    any_store.call(hand_on)
    any_store.call(lambda tx: tx.deliveries.done([tx.deliveries.head("s001", 1)[0].position], NOON, 0))

    def purge(tx: Any) -> int:
        gone: int = tx.outbox.purge(NOON + timedelta(hours=1))
        return gone

    assert any_store.call(purge) == 1  # what was delivered is in the log, which needs it
    any_store.call(lambda tx: tx.deliveries.forget(NOON + timedelta(seconds=1), 9))
    assert any_store.call(purge) == 1
    assert [sent.event.id for sent in any_store.view(lambda tx: tx.deliveries.head("s001", 9))] == [ids[1]]
    assert [event_.id for event_ in unsent(any_store)] == [ids[3]]
    any_store.call(lambda tx: tx.subscriptions.remove(["s001"]))
    assert any_store.call(purge) == 1


def test_an_id_is_never_used_again(any_store: Store) -> None:
    (first,) = add(any_store, event(1, 1))
    any_store.call(lambda tx: tx.outbox.mark_sent([first]))
    assert any_store.call(lambda tx: tx.outbox.purge(NOON + timedelta(hours=1))) == 1
    assert add(any_store, event(1, 2)) > [first]


def test_each_subscription_has_its_queue(any_store: Store) -> None:
    ids = add(any_store, *(event(1, n) for n in range(4)))

    def fill(tx: Any) -> None:
        tx.subscriptions.add(subscription(1))
        tx.subscriptions.add(subscription(2))
        tx.deliveries.enqueue([("s001", ids[1]), ("s002", ids[1]), ("s001", ids[0])])
        tx.deliveries.enqueue([])
        tx.deliveries.enqueue([("s001", ids[3])])

    any_store.call(fill)
    assert any_store.view(lambda tx: tx.deliveries.waiting()) == ["s001", "s002"]
    head = any_store.view(lambda tx: tx.deliveries.head("s001", 2))
    assert [sent.event.id for sent in head] == [ids[1], ids[0]]
    assert [sent.position for sent in head] == sorted(sent.position for sent in head)
    assert head[0].event.body == event(1, 1).body
    assert {sent.subscription_id for sent in head} == {"s001"}
    any_store.call(lambda tx: tx.deliveries.done([sent.position for sent in head], NOON, 0))
    assert [sent.event.id for sent in any_store.view(lambda tx: tx.deliveries.head("s001", 9))] == [ids[3]]
    assert [sent.event.id for sent in any_store.view(lambda tx: tx.deliveries.head("s002", 9))] == [ids[1]]
    other = any_store.view(lambda tx: tx.deliveries.head("s002", 1))
    any_store.call(lambda tx: tx.deliveries.done([other[0].position], NOON, 0))
    assert any_store.view(lambda tx: tx.deliveries.waiting()) == ["s001"]


def test_a_message_bears_the_same_id_at_every_try(any_store: Store) -> None:
    ids = add(any_store, event(1, 1), event(1, 2))

    def fill(tx: Any) -> None:
        for number in (1, 2):
            tx.subscriptions.add(subscription(number))
            tx.deliveries.enqueue([(f"s00{number}", id_) for id_ in ids])

    any_store.call(fill)
    tries = [[sent.message_id for name in ("s001", "s002") for sent in any_store.view(heads(name))] for _ in range(2)]
    assert tries[0] == tries[1]
    assert len(set(tries[0])) == 4
    assert all(UUID(id_) for id_ in tries[0])
    assert all(id_.startswith("urn:uuid:") for id_ in tries[0])


def heads(subscription_id: str) -> Any:
    return lambda tx: tx.deliveries.head(subscription_id, 9)


def test_an_event_waits_for_a_subscription_once(any_store: Store) -> None:
    (id_,) = add(any_store, event(1, 1))
    any_store.call(lambda tx: tx.subscriptions.add(subscription(1)))
    for _ in range(2):
        any_store.call(lambda tx: tx.deliveries.enqueue([("s001", id_)]))
    assert len(any_store.view(heads("s001"))) == 1


def test_nothing_waits_for_a_subscription_that_is_gone(any_store: Store) -> None:
    (id_,) = add(any_store, event(1, 1))
    with pytest.raises(StaleError):
        any_store.call(lambda tx: tx.deliveries.enqueue([("gone", id_)]))

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004
from twisted.internet.task import Clock

from flyinglow.notification.delivery import DeliverySettings
from flyinglow.notification.ledger import Entry, Work
from flyinglow.notification.slots import Slots
from flyinglow.workspace.model import Kind, ResourceKey, Topic
from rigs.notification import KEY, START, FakeSender, World


def test_every_event_arrives_once_and_in_order(world: World) -> None:
    consumer = world.subscribe()
    world.build().start()
    world.happen(3)
    assert world.sender.told(consumer) == ["a1", "a2", "a3"]
    assert world.waiting() == []
    assert [sequences for sequences, _ in world.settled] == [[1], [2], [3]]


def test_what_queues_up_while_a_request_is_under_way_goes_together_into_the_next(world: World) -> None:
    first: Deferred[int] = Deferred()
    world.sender.answer = lambda address, count: first if count == 1 else 202
    consumer = world.subscribe()
    world.build(settings=DeliverySettings(batch=4)).start()
    world.happen(7)
    assert world.sender.told(consumer) == ["a1"]
    first.callback(202)
    assert world.sender.told(consumer) == ["a1", "a2,a3,a4,a5", "a6,a7"]
    assert world.sender.most_under_way[consumer] == 1


def test_a_raw_subscription_gets_one_message_a_request(world: World) -> None:
    world.happen(3)
    consumer = world.subscribe(raw=True)
    world.build().start()
    assert world.sender.told(consumer) == ["a1", "a2", "a3"]


def test_only_the_topics_asked_for_are_sent(world: World) -> None:
    consumer = world.subscribe(topics=["networking", "warning"])
    world.build().start()
    for topic in Topic:
        world.happen(topic=topic)
    assert world.sender.told(consumer) == ["a3", "a5"]


def test_a_subscription_hears_of_its_own_producer_only(world: World) -> None:
    group = ResourceKey(Kind.GROUP, KEY.id)
    consumer = world.subscribe(key=group)
    world.build().start()
    world.happen(2)
    world.happen(key=group)
    assert world.sender.told(consumer) == ["a1"]


def test_a_failed_request_is_made_again_the_same_after_growing_waits(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 503
    world.subscribe()
    world.build(settings=DeliverySettings(longest_delay=5)).start()
    world.happen()
    times = [0.0]
    for _ in range(300):
        before = len(world.sender.posts)
        clock.advance(0.1)
        if len(world.sender.posts) > before:
            times.append(clock.seconds())
            world.happen()  # more is queued while it waits
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:6] == [1, 2, 4, 5, 5, 5]  # the jitter's middle
    assert len({(headers["id"], body) for _, headers, body in world.sender.posts}) == 1
    row = world.row()
    assert row is not None
    assert (row.failures, row.failing_since, row.last_error) == (len(times), START, "HTTP status 503")


def test_a_recovered_consumer_gets_everything_and_a_clean_row(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 202 if count > 3 else OSError("refused")
    consumer = world.subscribe()
    world.build().start()
    world.happen(5)
    clock.pump([1] * 10)
    assert world.sender.told(consumer) == ["a1", "a1", "a1", "a1", "a2,a3,a4,a5"]
    row = world.row()
    assert row is not None
    assert (row.failures, row.failing_since, row.retry_at, row.last_error) == (0, None, None, "")


def test_any_2xx_is_success_and_nothing_else(world: World, clock: Clock) -> None:
    answers = [200, 204, 299, 199, 300, 302, 404, 500]
    world.sender.answer = lambda address, count: answers[count - 1]
    consumer = world.subscribe()
    world.build().start()
    world.happen(4)
    clock.pump([1] * 7)  # 1 + 2 + 4
    assert world.sender.told(consumer) == ["a1", "a2", "a3", "a4", "a4", "a4", "a4"]


def test_the_jitter_spreads_retries_over_half_to_one_and_a_half(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 500
    world.subscribe()
    world.build()
    world.courier._random = lambda: 0.999
    world.start()
    world.happen()
    row = world.row()
    assert row is not None
    assert row.retry_at is not None
    assert timedelta(seconds=1.2) < row.retry_at - START < timedelta(seconds=1.26)


def test_a_consumer_that_fails_too_long_is_left_alone_until_its_owner_resumes_it(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: TimeoutError()
    world.subscribe()
    world.build(settings=DeliverySettings(longest_delay=10, give_up=30)).start()
    world.happen()
    clock.pump([1] * 29)
    assert world.there().paused_at is None
    clock.pump([1] * 15)
    assert world.there().paused_at is not None
    assert "failed 7 times" in world.there().pause_reason
    assert "TimeoutError" in world.there().pause_reason
    posts = len(world.sender.posts)
    world.happen(2)
    clock.pump([10] * 10)
    assert len(world.sender.posts) == posts
    assert world.waiting() == [1, 2, 3]
    world.sender.answer = lambda address, count: 200
    world.resume()
    assert (world.waiting(), world.there().pause_reason, world.there().failures) == ([], "", 0)


def test_what_happens_during_a_pause_is_delivered_in_order_after_it(world: World, clock: Clock) -> None:
    world.subscribe(paused_at=START)
    world.build().start()
    world.happen(3)
    clock.pump([10] * 10)
    assert world.sender.posts == []
    world.resume()
    assert world.waiting() == []
    assert len(world.sender.posts) == 1


def test_a_pause_while_it_fails_ends_the_attempts(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 500
    world.subscribe()
    world.build().start()
    world.happen()
    world.store.call(lambda tx: tx.subscriptions.write(replace(tx.subscriptions.get("s1"), paused_at=world.now())))
    clock.pump([1] * 100)
    assert len(world.sender.posts) == 1
    assert world.courier._lines == {}
    assert world.waiting() == [1]


def test_an_unsubscribed_consumer_hears_no_more_even_of_what_was_being_retried(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 500
    world.subscribe()
    world.build().start()
    world.happen(2)
    world.store.call(lambda tx: tx.subscriptions.remove(["s1"]))
    clock.pump([1] * 100)
    assert len(world.sender.posts) == 1
    assert world.courier._lines == {}


def test_a_renewal_while_it_fails_is_not_undone(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 500 if count < 3 else 200
    world.subscribe(ends_at=START + timedelta(hours=1))
    world.build().start()
    world.happen()
    later = START + timedelta(hours=9)
    world.store.call(lambda tx: tx.subscriptions.write(replace(tx.subscriptions.get("s1"), ends_at=later)))
    clock.pump([1] * 5)
    row = world.row()
    assert row is not None
    assert (row.ends_at, row.failures, len(world.sender.posts)) == (later, 0, 3)


def test_an_ended_subscription_hears_no_more(world: World, clock: Clock) -> None:
    consumer = world.subscribe(ends_at=START + timedelta(seconds=10))
    world.build().start()
    world.happen()
    clock.advance(10)
    world.happen()
    assert world.sender.told(consumer) == ["a1"]
    assert world.waiting() == []


def test_a_subscription_that_ends_while_its_consumer_fails_is_not_tried_again(world: World, clock: Clock) -> None:
    world.sender.answer = lambda address, count: 500
    world.subscribe(ends_at=START + timedelta(seconds=10))
    world.build().start()
    world.happen()
    clock.pump([1] * 100)
    assert len(world.sender.posts) == 4  # after 0, 1, 3 and 7 s


def test_news_that_come_while_a_line_finds_nothing_are_not_forgotten(world: World) -> None:
    """The store answers "nothing" from before the news were committed, and the wake-up comes before that answer."""
    consumer = world.subscribe()
    world.build().start()
    run, held = world.store.run, []

    def slow(fn: Callable[..., object], **more: object) -> Deferred[object]:
        result = run(fn)
        waiting: Deferred[object] = Deferred()
        waiting.addCallback(lambda _: result)
        held.append(waiting)
        return waiting

    world.ledger._store = SimpleNamespace(run=slow, read=slow)
    world.courier.wake(["s1"])
    world.happen()
    while held:
        held.pop(0).callback(None)
    assert world.sender.told(consumer) == ["a1"]


def test_a_group_of_entries_that_fails_is_taken_one_by_one(world: World) -> None:
    consumers = [world.subscribe(name) for name in ("s1", "s2", "s3")]
    world.build()

    def broken(carry_out: Callable[..., list[Work | None]]) -> Callable[..., list[Work | None]]:
        def act(tx: object, entries: Sequence[Entry]) -> list[Work | None]:
            if any(entry.subscription_id == "s2" for entry in entries):
                raise OSError("the row is broken")
            return carry_out(tx, entries)

        return act

    world.ledger.look = broken(world.ledger.look)  # type: ignore[method-assign]
    world.ledger.commit = broken(world.ledger.commit)  # type: ignore[method-assign]
    world.happen()
    world.ledger._busy = True  # all three ask before the first is answered
    world.start()
    Deferred.fromCoroutine(world.ledger._run())
    assert [world.sender.told(consumer) for consumer in consumers] == [["a1"], [], ["a1"]]


def test_one_dead_consumer_delays_nobody(world: World, clock: Clock) -> None:
    """Dead ones hang for ever, more of them than there are slots; the healthy ones hear all, at once."""
    dead = [world.subscribe(f"dead{number}") for number in range(6)]
    healthy = [world.subscribe(f"ok{number}") for number in range(4)]
    hanging: list[Deferred[int]] = []

    def answer(address: str, count: int) -> int | Deferred[int]:
        if address in healthy:
            return 202
        waiting: Deferred[int] = Deferred()
        hanging.append(waiting)
        return waiting

    world.sender.answer = answer
    world.build(slots=Slots(total=4, suspect=2, per_consumer=2)).start()
    world.happen()
    while len(hanging) < 6:  # the first time the dead hold the slots until their requests time out
        clock.advance(1)
        for waiting in [each for each in hanging if not each.called]:
            waiting.errback(TimeoutError())
    clock.advance(10)  # now they are known to fail, and wait in a place apart
    assert any(not waiting.called for waiting in hanging)
    world.happen(5)
    for consumer in healthy:
        assert Counter(",".join(world.sender.told(consumer)).split(",")) == Counter(f"a{n}" for n in range(1, 7))
    assert all(world.sender.most_under_way[consumer] == 1 for consumer in dead)


def test_one_hanging_consumer_takes_its_own_few_slots_only(world: World) -> None:
    for number in range(8):
        world.subscribe(f"d{number}", consumer=f"http://dead.test/{number}")
    healthy = world.subscribe("ok")
    world.sender.answer = lambda address, count: 202 if address == healthy else Deferred()
    world.build(slots=Slots(total=4, suspect=2, per_consumer=3)).start()
    world.happen(2)
    assert world.sender.told(healthy) == ["a1", "a2"]
    assert sum(world.sender.under_way.values()) == 3


def test_a_crash_between_answer_and_record_repeats_the_same_message(make_world: Callable[[], World]) -> None:
    old = make_world()
    consumer = old.subscribe()
    old.build().start()
    answered: Deferred[int] = Deferred()
    old.sender.answer = lambda address, count: answered
    old.happen()
    assert old.sender.told(consumer) == ["a1"]  # the consumer has it; the daemon dies before it knows
    new = make_world().build().start()
    assert new.sender.posts == old.sender.posts
    assert new.waiting() == []


def test_a_restart_goes_on_in_order_and_waits_out_the_retry(make_world: Callable[[], World], clock: Clock) -> None:
    old = make_world()
    consumer = old.subscribe()
    old.sender.answer = lambda address, count: 500
    old.build().start()
    old.happen(3)
    clock.pump([1] * 4)
    failures = len(old.sender.posts)
    old.stop()
    new = make_world().build(settings=DeliverySettings(batch=2)).start()
    assert new.sender.posts == []
    clock.pump([1] * 5)
    assert new.sender.told(consumer) == ["a1,a2", "a3"]
    assert failures == 3


def test_a_stop_breaks_off_and_leaves_the_rest_for_later(world: World) -> None:
    world.sender.answer = lambda address, count: Deferred()
    world.subscribe()
    world.build().start()
    world.happen(2)
    world.stop()
    assert world.waiting() == [1, 2]
    row = world.row()
    assert row is not None
    assert row.failures == 0  # the consumer did nothing wrong
    assert world.courier._lines == {}
    assert world.clock.getDelayedCalls() == []


def test_delivered_messages_are_told_in_the_transaction_that_forgets_them(world: World) -> None:
    seen: list[tuple[list[int], list[int]]] = []

    def settled(tx: object, events: object, at: object) -> None:
        waiting = tx.deliveries.head("s1", 9)  # type: ignore[attr-defined]
        seen.append(([e.sequence for e in events], [d.event.sequence for d in waiting]))  # type: ignore[attr-defined]

    world.subscribe()
    world.build(settled=settled).start()
    world.happen()
    assert seen == [([1], [1])]


def test_a_message_that_cannot_be_made_stops_its_own_line_only(world: World) -> None:
    other = ResourceKey(Kind.WORKSPACE, "b" * 32)
    from rigs.notification import plain

    def compose(subscription: object, deliveries: object) -> object:
        if subscription.id == "s1":  # type: ignore[attr-defined]
            raise KeyError("state")
        return plain(subscription, deliveries)  # type: ignore[arg-type]

    world.subscribe()
    healthy = world.subscribe("s2", key=other)
    world.build(compose=compose).start()  # type: ignore[arg-type]
    world.happen()
    world.happen(key=other)
    assert world.sender.told(healthy) == ["b1"]
    row = world.row()
    assert row is not None
    assert "KeyError" in row.last_error


def test_an_entry_the_store_cannot_take_leaves_the_others_alone(world: World, clock: Clock) -> None:
    for name in ("s1", "s2"):
        world.subscribe(name)
    world.build()
    carry_out, broken = world.ledger.commit, [True]

    def commit(tx: object, entries: object) -> object:
        if broken and any(entry.subscription_id == "s1" and entry.delivered for entry in entries):  # type: ignore[attr-defined]
            raise OSError("the disk is full")
        return carry_out(tx, entries)  # type: ignore[arg-type]

    world.ledger.commit = commit  # type: ignore[assignment,method-assign]
    world.start()
    world.happen()
    assert world.waiting("s2") == []
    assert world.waiting("s1") == [1]
    broken.clear()
    clock.advance(60)
    assert world.waiting("s1") == []
    assert len(world.sender.told("http://s1.test/s1")) == 1  # recorded later, not sent again


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), failing=st.floats(0, 0.7))
def test_whatever_fails_nothing_is_lost_and_nothing_is_out_of_order(
    tmp_path_factory: object, seed: int, failing: float
) -> None:
    """Under random failures, hangs, batches and restarts, each consumer sees 1..n with repetitions only."""
    chance, clock = Random(seed), Clock()
    file = tmp_path_factory.mktemp("order") / "store.db"  # type: ignore[attr-defined]
    world = World(file, clock)
    consumers = [world.subscribe(f"s{number}", raw=number == 2) for number in range(3)]
    seen: dict[str, list[int]] = {consumer: [] for consumer in consumers}
    sequences: dict[ResourceKey, int] = {}
    current = [world]

    def answer(address: str, count: int) -> int | Exception | Deferred[int]:
        fails, arrived = chance.random() < failing, chance.random() < 0.5
        told = current[-1].sender.posts[-1][2].decode()
        if arrived or not fails:  # it may have arrived though the answer was lost
            seen[address].extend(int(part[1:]) for part in told.split(","))
        if chance.random() < 0.3:
            later: Deferred[int] = Deferred()
            clock.callLater(
                chance.random() * 3, lambda: None if later.called else later.callback(500 if fails else 200)
            )
            return later
        if not fails:
            return 202
        return 500 if chance.random() < 0.5 else OSError("gone")

    def begin(world: World) -> World:
        current.append(world)
        world.sender = FakeSender(answer)
        world._sequences = sequences
        return world.build(settings=DeliverySettings(batch=chance.randint(1, 5), longest_delay=8)).start()

    begin(world)
    for _ in range(12):
        world.happen(chance.randint(0, 3))
        clock.advance(chance.random() * 4)
        if chance.random() < 0.15:
            world.stop()
            world.store.close()
            world = begin(World(file, clock))
    failing = 0
    clock.pump([1] * 80)
    for name, consumer in zip(("s0", "s1", "s2"), consumers, strict=True):
        firsts = list(dict.fromkeys(seen[consumer]))
        assert firsts == list(range(1, sequences.get(KEY, 0) + 1))
        assert all(later <= earlier + 1 for earlier, later in pairwise(seen[consumer]))
        assert world.waiting(name) == []
    world.stop()
    world.store.close()


def test_a_long_absence_loses_nothing_and_keeps_the_order(world: World) -> None:
    """The measurement ``away`` does the same with ten thousand messages over real sockets."""
    away = [True]
    world.sender.answer = lambda _to, _count: ConnectionError("away") if away[0] else 202
    consumer = world.subscribe()
    world.build().start()
    world.happen(400)
    world.clock.advance(61)
    missed = len(world.sender.told(consumer))
    away[0] = False
    world.clock.advance(120)
    told = [int(each.lstrip("a")) for body in world.sender.told(consumer)[missed:] for each in body.split(",")]
    assert told == list(range(1, 401))
    assert len(world.sender.told(consumer)) - missed <= 10
    assert world.waiting() == []

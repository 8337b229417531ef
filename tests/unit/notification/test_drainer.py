from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.notification.contents import Contents
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.ports import NotificationTx
from flyinglow.notification.sieve import Sieve, Turn
from flyinglow.workspace.model import Event, Kind, ResourceKey
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.xml import NS
from flyinglow.wsrf.xpath.evaluator import DIALECT, Part, ProcessXPath, Query, XPathLimits
from rigs.notification import KEY, World
from rigs.soap import XPATH

GROUP = ResourceKey(Kind.GROUP, "c" * 32)


class Echo:
    """A fold that derives one event of the group from each of a workspace."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def derive(self, tx: NotificationTx, events: Sequence[Event]) -> list[Event]:
        self.calls.append([event.sequence for event in events])
        derived = [replace(event, key=GROUP, id=0) for event in events if event.key.kind is Kind.WORKSPACE]
        tx.outbox.add(derived)
        return derived


def unsent(world: World) -> int:
    return len(world.store.view(lambda tx: tx.outbox.unsent(10_000)))


def test_events_are_handed_on_once(world: World) -> None:
    world.build().start()
    world.happen(3)
    assert unsent(world) == 0
    world.subscribe()
    world.happen()
    assert world.sender.told("http://s1.test/s1") == ["a4"]


def test_more_events_than_a_batch_are_all_handed_on_at_once(world: World) -> None:
    consumer = world.subscribe()
    world.happen(10)
    world.build(batch=3).start()
    assert ",".join(world.sender.told(consumer)) == ",".join(f"a{n}" for n in range(1, 11))


def test_what_folds_derive_reaches_the_groups_subscribers_only(world: World) -> None:
    member, whole = world.subscribe("member"), world.subscribe("whole", key=GROUP)
    fold = Echo()
    world.build(folds=[fold]).start()
    world.happen(2)
    assert world.sender.told(member) == ["a1", "a2"]
    assert world.sender.told(whole) == ["c1", "c2"]
    assert fold.calls == [[1], [1], [2], [2]]


def test_a_failed_transaction_leaves_the_events_for_the_timer(world: World, clock: Clock) -> None:
    class Broken(Echo):
        def derive(self, tx: NotificationTx, events: Sequence[Event]) -> list[Event]:
            found = super().derive(tx, events)
            if len(self.calls) == 1:
                raise RuntimeError("at first")
            return found

    consumer = world.subscribe(key=GROUP)
    world.build(folds=[Broken()]).start()
    world.happen()
    assert (unsent(world), world.sender.posts) == (1, [])
    clock.advance(5)
    assert world.sender.told(consumer) == ["c1"]
    assert unsent(world) == 0


def test_events_of_another_process_are_found_by_the_timer(world: World, clock: Clock) -> None:
    consumer = world.subscribe()
    world.build().start()
    world.store._listeners.clear()
    world.happen()
    assert world.sender.posts == []
    clock.advance(5)
    assert world.sender.told(consumer) == ["a1"]


def test_commits_out_of_id_order_are_not_passed_over(world: World) -> None:
    """A row with a smaller id may become visible later: events are taken by their mark, not by a cursor."""
    consumer = world.subscribe()
    world.build().start()
    world.happen()
    world.store.call(lambda tx: tx._connection.exec_driver_sql("DELETE FROM delivered"))
    world.store.call(lambda tx: tx._connection.exec_driver_sql("UPDATE events SET id = 1000"))
    early = world.event()
    world.store.call(
        lambda tx: tx._connection.exec_driver_sql(
            "INSERT INTO events (id, kind, resource_id, sequence, topic, owner, at, body)"
            " VALUES (5, ?, ?, ?, ?, ?, 0, ?)",
            (KEY.kind.value, KEY.id, early.sequence, "state", "ann", '{"name":"vm","state":"Running"}'),
        )
    )
    world.drainer.notice([])
    assert world.sender.told(consumer) == ["a1", "a2"]


def test_one_transaction_at_a_time_and_again_when_woken_meanwhile(world: World) -> None:
    consumer = world.subscribe()
    world.build()
    run, held = world.store.run, []

    def slow(fn: Callable[[NotificationTx], object], **more: object) -> Deferred[object]:
        waiting: Deferred[object] = Deferred()
        held.append(waiting)
        waiting.addCallback(lambda _: run(fn))
        return waiting

    world.start()
    world.store.run = slow  # type: ignore[method-assign,assignment]
    world.happen()
    world.happen()
    world.happen()
    assert len(held) == 1
    while held:
        held.pop(0).callback(None)
    assert ",".join(world.sender.told(consumer)) == "a1,a2,a3"
    assert unsent(world) == 0


def test_stop_waits_for_the_transaction_under_way_and_starts_no_other(world: World) -> None:
    world.subscribe()
    world.build().start()
    run, held = world.store.run, []

    def slow(fn: Callable[[NotificationTx], object], **more: object) -> Deferred[object]:
        waiting: Deferred[object] = Deferred()
        held.append(waiting)
        waiting.addCallback(lambda _: run(fn))
        return waiting

    world.store.run = slow  # type: ignore[method-assign,assignment]
    world.happen()
    stopped: list[None] = []
    world.drainer.stop().addCallback(stopped.append)
    assert stopped == []
    held.pop(0).callback(None)
    assert stopped == [None]
    world.happen()
    assert unsent(world) == 1


CONTENT = f'<wsnt:MessageContent Dialect="{DIALECT}">%s</wsnt:MessageContent>'
STATED = f'<wsnt:Filter xmlns:wsnt="{NS["wsnt"]}" xmlns:fl="{NS["fl"]}">%s</wsnt:Filter>'


def sieve(*expressions: str) -> str:
    return STATED % "".join(CONTENT % text for text in expressions)


def test_a_message_is_sent_when_every_expression_over_its_content_is_true(world: World) -> None:
    world.subscribe("all")
    world.subscribe("running", filter_xml=sieve("/fl:StateChange/fl:State = 'Running'"))
    world.subscribe("paused", filter_xml=sieve("//fl:State = 'Paused'"))
    world.subscribe("both", filter_xml=sieve("//fl:State = 'Running'", "/*/@sequence &gt; 1"))
    world.subscribe("other", filter_xml=sieve("//fl:State"), topics=["warning"])
    world.build().start()
    world.happen(2)
    told = [address.rpartition("/")[2] for address, _, _ in world.sender.posts]
    assert sorted(told) == ["all", "all", "both", "running", "running"]


def test_a_view_is_judged_and_sent_in_its_own_form(world: World) -> None:
    was = "//rp:OldValues/fl:State = '%s'"
    with_rp = STATED.replace(" xmlns:fl", f' xmlns:rp="{NS["rp"]}" xmlns:fl')
    world.subscribe("all", topics=["fl:state-value"])
    world.subscribe("started", topics=["fl:state-value"], filter_xml=with_rp % (CONTENT % (was % "Propagated")))
    world.subscribe("paused", topics=["fl:state-value"], filter_xml=with_rp % (CONTENT % (was % "Paused")))
    world.build(compose=Envelopes(Addresses("http://site.example")).compose).start()
    world.store.call(partial(_told, world.event(state="Running", previous="Propagated")))
    world.store.call(partial(_told, world.event(state="Running", previous="Running", task="Pausing")))
    told = {address.rpartition("/")[2]: body for address, _, body in world.sender.posts}
    assert len(world.sender.posts) == len(told) == 2
    assert set(told) == {"all", "started"}
    for body in told.values():
        assert b"ResourcePropertyValueChangeNotification" in body
        assert b"StateChange" not in body


def _told(event: Event, tx: Any) -> None:
    tx.outbox.add([event])


ENDLESS = "count(//*[count(//*[count(//*)&gt;1])&gt;1])"
for _ in range(9):
    ENDLESS = f"count(//*[{ENDLESS}&gt;1])"


def test_a12_a_filter_that_takes_too_long_pauses_its_subscription_and_no_other(world: World) -> None:
    world.subscribe("endless", filter_xml=sieve(ENDLESS))
    world.subscribe("quick", filter_xml=sieve("//fl:State"))
    world.subscribe("nothing", filter_xml=sieve("//fl:Nothing"))
    xpath = ProcessXPath(XPathLimits(seconds=0.2))
    world.build(xpath=xpath).start()
    world.happen(2)
    xpath.close()
    assert "took too long" in world.there("endless").pause_reason
    assert world.waiting("endless") == [1, 2]
    assert [address for address, _, _ in world.sender.posts] == ["http://quick.test/quick"] * 2


def test_many_filters_that_take_too_long_hold_nobody_up_for_long(world: World) -> None:
    """What they cost is bounded for each transaction; whom there was no time to ask for is asked between two."""
    xpath = Unable()
    names = [f"s{number:02}" for number in range(20)]
    for name in names:
        world.subscribe(name, filter_xml=sieve("//fl:Nothing"))
    world.build(xpath=xpath)
    world.happen(3)
    world.store.call(world.drainer.drain)
    assert xpath.asked == 5
    assert sum(world.there(name).paused_at is not None for name in names) == 4
    world.start()
    assert all("took too long" in world.there(name).pause_reason for name in names)
    assert [world.waiting(name) for name in names] == [[1, 2, 3]] * 20
    assert world.sender.posts == []


class Unable:
    """Evaluates nothing in time."""

    asked = 0

    def check(self, query: Query) -> None:
        """Take it."""

    def select(self, document: bytes, query: Query) -> tuple[Part, ...]:
        """Give up."""
        raise AssertionError

    def holds(self, document: bytes, queries: Sequence[Query]) -> tuple[bool | None, ...]:
        """Give up."""
        self.asked += 1
        return (None,) * len(queries)


class Weary(Unable):
    """Evaluates rightly, and takes a while for each expression; together they take too long."""

    def __init__(self, each: float) -> None:
        self.each, self.seconds = each, 0.0

    def holds(self, document: bytes, queries: Sequence[Query]) -> tuple[bool | None, ...]:
        """Take the time, and answer when it is not too much."""
        self.asked += 1
        took = self.each * len(queries)
        self.seconds += min(took, 0.2)
        return XPATH.holds(document, queries) if took <= 0.2 else (None,) * len(queries)


def weary(world: World, each: float = 0.15, **more: Any) -> Weary:
    xpath = Weary(each)
    world.build(contents=Contents(xpath, clock=lambda: xpath.seconds), **more)
    return xpath


def test_who_was_not_asked_in_time_is_told_what_he_asked_for_and_nothing_else(world: World) -> None:
    xpath = weary(world)
    for number in range(20):
        world.subscribe(f"s{number:02}", filter_xml=sieve(f"/*/@sequence mod 4 = {number % 4}"))
    plain = world.subscribe("plain")
    world.happen(8)
    drained = world.store.call(world.drainer.drain)
    assert drained.unjudged
    assert xpath.seconds <= 1.0
    world.start()
    assert world.sender.told(plain) == ["a1,a2,a3,a4,a5,a6,a7,a8"]
    for number in range(20):
        told = ",".join(world.sender.told(f"http://s{number:02}.test/s{number:02}"))
        assert told == ",".join(f"a{n}" for n in range(1, 9) if n % 4 == number % 4)
        assert world.there(f"s{number:02}").paused_at is None


def test_what_is_still_to_be_asked_survives_a_restart_and_keeps_its_place(world: World, clock: Clock) -> None:
    weary(world)
    for number in range(20):
        world.subscribe(f"s{number:02}", filter_xml=sieve("/*/@sequence &gt; 1"))
    world.happen(2)
    world.store.call(world.drainer.drain)
    world.build()
    world.happen(2)
    world.start()
    for number in range(20):
        assert ",".join(world.sender.told(f"http://s{number:02}.test/s{number:02}")) == "a2,a3,a4"


def test_what_a_slow_filter_kept_back_is_asked_for_when_it_is_resumed(world: World, clock: Clock) -> None:
    consumer = world.subscribe("s1", filter_xml=sieve("/*/@sequence = 2"))
    world.build(xpath=Unable()).start()
    world.happen(3)
    world.resume("s1")
    clock.advance(5)
    assert "took too long" in world.there("s1").pause_reason
    assert world.waiting("s1") == [1, 2, 3]
    world.stop()
    world.build().start()
    world.resume("s1")
    clock.advance(5)
    assert world.sender.told(consumer) == ["a2"]
    assert world.waiting("s1") == []


def test_owners_have_their_turns(world: World) -> None:
    """However many slow filters one owner has, another's is asked in the second turn."""
    weary(world, each=0.19)
    for number in range(30):
        world.subscribe(f"s{number:02}", filter_xml=sieve("//fl:State"))
    world.subscribe("z", owner="zoe", filter_xml=sieve("//fl:State"))
    world.happen(1)
    world.store.call(world.drainer.drain)
    turns = Sieve(contents=Contents(XPATH), properties=lambda _tx, _event: None, now=world.now)
    for _ in range(2):
        turn = world.store.view(turns.look)
        assert turn is not None
        world.store.call(partial(_settle, turns, turn))
    assert world.store.view(lambda tx: [d.event.sequence for d in tx.deliveries.head("z", 9)]) == [1]


def _settle(turns: Sieve, turn: Turn, tx: Any) -> None:
    turns.settle(tx, turn)

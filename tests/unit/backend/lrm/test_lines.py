"""Orders ride in the answers to polls, the agent's lines come back: with a pilot that the test plays."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.abilities import Together
from flyinglow.backend.api import NodeChannel, Order
from flyinglow.backend.lrm.states import SlotState
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, InvalidError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmStatus, encode
from flyinglow.pilot.messages import LONG_POLL, Kind, Standing
from rigs.intake import IntakeWorld, SignedPilot, no_answer, now

LIST = Order(OrderName.LIST)
HELLO = json.dumps({"v": 1, "news": "hello", "body": {"version": "1", "node": "n1", "drivers": []}})


@pytest.fixture
def world() -> IntakeWorld:
    return IntakeWorld()


@pytest.fixture
def pilot(world: IntakeWorld) -> SignedPilot:
    """A pilot that is ready and has asked once, so that its next poll is held."""
    pilot = world.ready()
    world.say(pilot, pilot.poll())
    return pilot


def channel(world: IntakeWorld, pilot: SignedPilot) -> NodeChannel:
    return world.lines.channel(world.slot(pilot.slot))


def send(
    world: IntakeWorld, pilot: SignedPilot, order: Order = LIST, timeout: float = 10
) -> Deferred[Mapping[str, Any]]:
    return Deferred.fromCoroutine(channel(world, pilot).send(order, timeout))


def said(pilot: SignedPilot, *lines: Any, **fields: Any) -> bytes:
    return pilot.seal(Kind.SAID, {"lines": list(lines)}, **fields)


def answer(number: int, **body: Any) -> str:
    return json.dumps({"v": 1, "id": number, "ok": True, "body": body})


# orders and answers


def test_an_order_goes_out_at_once_in_the_answer_to_the_poll_that_is_held(
    world: IntakeWorld, pilot: SignedPilot
) -> None:
    data = pilot.poll()
    held = world.post(data)
    assert no_answer(held)
    result = send(world, pilot, Order(OrderName.CREATE, "vm1", {"name": "one"}))
    pilot.read(data, now(held))
    [(number, line)] = pilot.orders
    assert line == {"v": 1, "id": number, "order": "create", "tag": "vm1", "body": {"name": "one"}}
    assert no_answer(result)
    world.say(pilot, said(pilot, answer(number, status="created")))
    assert now(result) == {"status": "created"}


def test_orders_that_are_given_together_go_out_in_one_answer(world: IntakeWorld, pilot: SignedPilot) -> None:
    data = pilot.poll()
    held = world.post(data)
    line = channel(world, pilot)
    assert isinstance(line, Together)
    with line.together():
        results = [send(world, pilot, Order(OrderName.CREATE, tag)) for tag in ("vm1", "vm2", "vm3")]
        assert no_answer(held)
    pilot.read(data, now(held))
    assert [order["tag"] for _, order in pilot.orders] == ["vm1", "vm2", "vm3"]
    numbers = [number for number, _ in pilot.orders]
    wrong = {"v": 1, "id": numbers[1], "ok": False, "error": {"kind": "exhausted", "message": "no disk", "figures": {}}}
    world.say(pilot, said(pilot, answer(numbers[0]), wrong, answer(numbers[2])))
    assert now(results[0]) == now(results[2]) == {}
    with pytest.raises(ExhaustedError, match="no disk"):
        now(results[1])


@pytest.mark.parametrize(("speaks", "version", "taken_back"), [(None, 1, 0), ([1, 1], 1, 0), ([1, 9], 2, 1)])
def test_an_order_that_nobody_waits_for_is_taken_back_on_a_node_that_can(
    world: IntakeWorld, pilot: SignedPilot, speaks: Any, version: int, taken_back: int
) -> None:
    hello = json.loads(HELLO)
    hello["body"].update({"speaks": speaks} if speaks else {})
    world.say(pilot, said(pilot, hello))
    result = send(world, pilot, Order(OrderName.CREATE, "vm1"), timeout=5)
    (order,) = [order for _, order in world.say(pilot, pilot.poll()).orders]
    assert order["v"] == version
    world.clock.advance(5)
    with pytest.raises(TransientError):
        now(result)
    unfetched = send(world, pilot, Order(OrderName.CREATE, "vm2"))
    unfetched.cancel()
    unfetched.addErrback(lambda _: None)
    send(world, pilot).addErrback(lambda _: None)
    told = [(line["order"], line["tag"], line["body"]) for _, line in world.say(pilot, pilot.poll()).orders]
    assert told == [("cancel", "vm1", {"order": "create"})] * taken_back + [("list", "", {})]


def test_an_agent_without_a_common_version_gets_nothing_done(world: IntakeWorld, pilot: SignedPilot) -> None:
    result = send(world, pilot)
    world.say(pilot, said(pilot, {"v": 3, "news": "hello", "body": {"version": "9", "speaks": [3, 4]}}))
    with pytest.raises(BrokenError, match="speaks versions 3 to 4, this service versions 1 to 2: upgrade this service"):
        now(result)


def test_orders_are_said_again_until_the_pilot_has_them(world: IntakeWorld, pilot: SignedPilot) -> None:
    send(world, pilot).addErrback(lambda _: None)
    send(world, pilot).addErrback(lambda _: None)
    first = world.say(pilot, pilot.poll()).orders
    assert len(first) == 2
    pilot.got = 0  # the answer was lost
    assert world.say(pilot, pilot.poll()).orders == first
    pilot.got = first[0][0]
    assert world.say(pilot, pilot.poll()).orders == first[1:]
    pilot.got = first[1][0]
    assert no_answer(world.post(pilot.poll()))


def test_a_pilot_cannot_have_what_it_was_not_given(world: IntakeWorld, pilot: SignedPilot) -> None:
    send(world, pilot).addErrback(lambda _: None)
    pilot.got = 1 << 60
    assert len(world.say(pilot, pilot.poll()).orders) == 1


def test_an_agents_error_comes_out_as_what_it_is(world: IntakeWorld, pilot: SignedPilot) -> None:
    result = send(world, pilot)
    world.say(pilot, pilot.poll())
    wrong = {"v": 1, "id": pilot.got, "ok": False, "error": {"kind": "unknown", "message": "no VM", "figures": {}}}
    world.say(pilot, said(pilot, wrong))
    with pytest.raises(UnknownError, match="no VM"):
        now(result)


def test_an_order_that_nobody_answers_fails_in_time_and_is_not_sent_any_more(
    world: IntakeWorld, pilot: SignedPilot
) -> None:
    result = send(world, pilot, timeout=5)
    world.clock.advance(5)
    with pytest.raises(TransientError, match=r"node n1 \(slot j0000001\.0\) did not answer to list within 5 s"):
        now(result)
    assert no_answer(world.post(pilot.poll()))


def test_news_are_passed_on_with_the_place(world: IntakeWorld, pilot: SignedPilot) -> None:
    info = VmInfo("vm1", VmStatus.RUNNING)
    world.say(pilot, said(pilot, {"v": 1, "news": "vm", "body": encode(info)}))
    assert world.news == [(f"{pilot.slot}@n1", info)]


def test_what_many_orders_are_too_much_for_goes_in_the_next_answer(world: IntakeWorld, pilot: SignedPilot) -> None:
    for _ in range(3):
        send(world, pilot, Order(OrderName.CREATE, "vm1", {"context": "x" * 2_000_000})).addErrback(lambda _: None)
    assert len(world.say(pilot, pilot.poll()).orders) == 2
    assert len(world.say(pilot, pilot.poll()).orders) == 1


def test_an_order_that_no_answer_could_carry_is_refused(world: IntakeWorld, pilot: SignedPilot) -> None:
    with pytest.raises(InvalidError, match="too much"):
        now(send(world, pilot, Order(OrderName.CREATE, "vm1", {"context": '"' * 2_050_000})))
    with pytest.raises(InvalidError, match="bytes long"):
        now(send(world, pilot, Order(OrderName.CREATE, "vm1", {"context": "x" * 5_000_000})))


def test_a_pilot_that_never_asks_holds_no_more_than_so_many_orders(world: IntakeWorld) -> None:
    pilot = world.ready()
    for _ in range(1024):
        send(world, pilot).addErrback(lambda _: None)
    with pytest.raises(TransientError, match="wait already"):
        now(send(world, pilot))


# agents that end


def test_an_agent_that_starts_anew_fails_what_the_one_before_was_given_and_gets_the_rest(
    world: IntakeWorld, pilot: SignedPilot
) -> None:
    world.say(pilot, said(pilot, HELLO))
    given = send(world, pilot)
    world.say(pilot, pilot.poll())
    later = send(world, pilot)
    world.say(pilot, said(pilot, HELLO))
    with pytest.raises(TransientError, match="started anew"):
        now(given)
    assert no_answer(later)
    world.say(pilot, pilot.poll())
    world.say(pilot, said(pilot, answer(pilot.got)))
    assert now(later) == {}


@pytest.mark.parametrize("line", ["rubbish", '{"v": 7, "news": "hello", "body": {"version": "9"}}', 5, [], None])
def test_an_agent_that_is_not_understood_fails_its_orders_and_ends_nothing(
    world: IntakeWorld, pilot: SignedPilot, line: Any
) -> None:
    result = send(world, pilot)
    assert world.say(pilot, said(pilot, line)).error is None
    with pytest.raises(BrokenError, match="not understood"):
        now(result)


def test_a_slot_that_is_over_takes_no_orders(world: IntakeWorld, pilot: SignedPilot) -> None:
    kept, result = channel(world, pilot), send(world, pilot)
    world.lines.forget(pilot.slot)
    with pytest.raises(UnknownError, match="is over"):
        now(result)
    with pytest.raises(UnknownError, match="is over"):
        now(Deferred.fromCoroutine(kept.send(LIST, 1)))
    world.change(pilot.slot, state=SlotState.LOST)
    with pytest.raises(UnknownError, match="it is Lost"):
        channel(world, pilot)


def test_a_channel_that_is_closed_fails_what_is_under_way(world: IntakeWorld, pilot: SignedPilot) -> None:
    result = send(world, pilot)
    channel(world, pilot).close()
    with pytest.raises(TransientError, match="closed"):
        now(result)


# polls


def test_a_poll_of_no_session_brings_the_session_and_no_order(world: IntakeWorld) -> None:
    pilot = world.ready()
    pilot.session = ""
    send(world, pilot).addErrback(lambda _: None)
    told = world.say(pilot, pilot.poll())
    assert told.orders == ()
    assert told.session
    assert len(world.say(pilot, pilot.poll()).orders) == 1


def test_a_recorded_poll_brings_nobody_any_order(world: IntakeWorld, pilot: SignedPilot) -> None:
    recorded = pilot.poll()
    held = world.post(recorded)
    send(world, pilot).addErrback(lambda _: None)
    now(held)
    assert pilot.read(recorded, world.reply(recorded)).orders == ()
    world.start()  # another run of the service
    assert pilot.read(recorded, world.reply(recorded)).orders == ()


def test_recorded_lines_answer_no_order_of_another_run(world: IntakeWorld, pilot: SignedPilot) -> None:
    result = send(world, pilot)
    world.say(pilot, pilot.poll())
    recorded = said(pilot, answer(pilot.got, old=True), session=pilot.session, turn=1)
    world.say(pilot, recorded)
    assert now(result) == {"old": True}
    world.start()
    later = send(world, pilot)
    world.reply(recorded)
    assert no_answer(later)


def test_recorded_news_of_another_run_are_not_news(world: IntakeWorld, pilot: SignedPilot) -> None:
    news = {"v": 1, "news": "vm", "body": encode(VmInfo("vm1", VmStatus.RUNNING))}
    recorded = said(pilot, news, session=pilot.session, turn=1)
    world.start()
    assert world.say(pilot, recorded).error is None
    assert world.news == []


def test_the_numbers_of_orders_of_two_runs_have_nothing_in_common(world: IntakeWorld, pilot: SignedPilot) -> None:
    numbers = []
    for _ in range(2):
        send(world, pilot).addErrback(lambda _: None)
        pilot.session = ""
        world.say(pilot, pilot.poll())
        numbers.append(world.say(pilot, pilot.poll()).orders[0][0])
        world.start()
    assert abs(numbers[0] - numbers[1]) > 1000
    assert min(numbers) > 1


def test_lines_that_are_said_twice_are_heard_once(world: IntakeWorld, pilot: SignedPilot) -> None:
    news = {"v": 1, "news": "vm", "body": encode(VmInfo("vm1", VmStatus.RUNNING))}
    data = said(pilot, news, session=pilot.session, turn=1)
    for _ in range(3):
        assert world.say(pilot, data).error is None
    assert len(world.news) == 1


def test_a_poll_is_answered_after_a_while_with_nothing(world: IntakeWorld, pilot: SignedPilot) -> None:
    data = pilot.poll()
    held = world.post(data)
    world.clock.advance(LONG_POLL - 0.1)
    assert no_answer(held)
    world.clock.advance(0.1)
    assert pilot.read(data, now(held)).orders == ()
    assert not world.clock.getDelayedCalls()


def test_a_newer_poll_answers_the_older_and_gets_the_orders(world: IntakeWorld, pilot: SignedPilot) -> None:
    older, newer = pilot.poll(), pilot.poll()
    first = world.post(older)
    second = world.post(newer)
    assert pilot.read(older, now(first)).orders == ()
    send(world, pilot).addErrback(lambda _: None)
    assert len(pilot.read(newer, now(second)).orders) == 1


def test_a_poll_that_was_hung_up_leaves_nothing_behind(world: IntakeWorld, pilot: SignedPilot) -> None:
    held = world.post(pilot.poll())
    held.addErrback(lambda _: None)
    held.cancel()
    assert not world.clock.getDelayedCalls()
    send(world, pilot).addErrback(lambda _: None)
    assert len(world.say(pilot, pilot.poll()).orders) == 1


def test_another_standing_answers_the_poll_and_one_that_is_urgent_is_said_often(
    world: IntakeWorld, pilot: SignedPilot
) -> None:
    data = pilot.poll()
    held = world.post(data)
    world.standings[pilot.slot] = Standing(warned=4)
    world.intake.wake([pilot.slot])
    assert pilot.read(data, now(held)).standing.warned == 4
    again = pilot.poll()
    held = world.post(again)
    assert no_answer(held)
    world.clock.advance(2)
    assert pilot.read(again, now(held)).standing.warned == 4  # the answer before may have been lost


def test_a_standing_that_changed_unheard_answers_the_next_poll_at_once(world: IntakeWorld, pilot: SignedPilot) -> None:
    world.standings[pilot.slot] = Standing(end=True, reason="destroyed")
    assert world.say(pilot, pilot.poll()).standing.end


def test_a_slot_that_was_declared_lost_is_told_to_end_and_not_too_often(world: IntakeWorld, pilot: SignedPilot) -> None:
    world.change(pilot.slot, state=SlotState.LOST, reason="gone")
    told = world.say(pilot, pilot.poll())
    assert (told.standing.end, told.standing.reason, told.orders) == (True, "gone", ())
    assert no_answer(world.post(pilot.poll()))


def test_a_stop_answers_all_polls_and_holds_none(world: IntakeWorld, pilot: SignedPilot) -> None:
    held = world.post(pilot.poll())
    world.intake.stop()
    now(held)
    world.reply(pilot.poll())
    assert not world.clock.getDelayedCalls()


def test_what_is_forgotten_leaves_no_memory(world: IntakeWorld, pilot: SignedPilot) -> None:
    held = world.post(pilot.poll())
    world.lines.forget(pilot.slot)
    now(held)
    assert not world.intake._polls._desks

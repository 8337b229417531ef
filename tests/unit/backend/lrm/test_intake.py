"""Reports come in: who is believed, what is stored, what is acknowledged, and what a pilot is told."""

import json
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.states import JobState, PilotSaid, SlotState
from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.messages import MAX_BYTES, Answer, Kind, Message, Standing, seal
from rigs.intake import IntakeWorld, MemoryLedger, SignedPilot, no_answer, now


@pytest.fixture
def world() -> IntakeWorld:
    return IntakeWorld()


# the first report


def test_a_hello_binds_the_slot_and_brings_its_key(world: IntakeWorld) -> None:
    pilot = world.pilot()
    told = world.say(pilot, pilot.report(Kind.HELLO, {"python": "3.9"}))
    slot = world.slot(pilot.slot)
    assert (slot.state, slot.node, slot.incarnation, slot.sequence) == (SlotState.BOUND, "n1", "run1", 1)
    assert (told.key, told.epoch, told.ack) == (slot.secret, 1, 1)
    assert len(told.key) == 64
    assert told.key != world.job.secret
    assert slot.facts == {"python": "3.9"}
    [change] = world.changes
    assert (change.slot, change.job, change.said, change.before) == (
        slot,
        world.job,
        PilotSaid.HELLO,
        SlotState.UNBOUND,
    )


def test_each_slot_gets_a_key_of_its_own(world: IntakeWorld) -> None:
    assert world.bound(0).key != world.bound(1).key


def test_a_hello_whose_answer_was_lost_brings_the_same_key_again(world: IntakeWorld) -> None:
    pilot = world.pilot()
    data = pilot.report(Kind.HELLO)
    world.reply(data)  # lost
    again = replace(pilot)
    assert world.say(again, data).key == world.slot(pilot.slot).secret
    assert len(world.changes) == len(world.trail(pilot.slot)) == 1


def test_another_pilot_of_a_bound_slot_is_put_off_and_the_engine_hears(world: IntakeWorld) -> None:
    first = world.bound()
    other = world.pilot(incarnation="run2")
    told = world.say(other, other.report(Kind.HELLO))
    assert told.error
    assert told.error["kind"] == "transient"
    assert told.key == ""
    assert world.changes[-1].contended
    assert world.slot(first.slot).incarnation == "run1"
    assert world.say(first, first.report(Kind.READY)).ack == 2
    world.say(other, other.seal(Kind.HELLO, sequence=1))
    assert len([row for row in world.trail(first.slot) if row.kind == "hello"]) == 2  # not one for each attempt


def test_a_requeued_job_binds_anew_in_the_next_epoch_and_its_old_words_are_void(world: IntakeWorld) -> None:
    old = world.bound()
    world.change(old.slot, state=SlotState.UNBOUND, epoch=2, sequence=0, node=None, incarnation="")
    late = old.report(Kind.READY)
    told = world.say(old, late)
    assert told.error
    assert told.error["kind"] == "conflict"
    assert told.standing.end
    assert world.slot(old.slot).state is SlotState.UNBOUND
    assert world.trail(old.slot)[-1].effect.startswith("void")
    new = world.pilot(incarnation="run2", node="n7")
    world.say(new, new.report(Kind.HELLO))
    assert (new.epoch, world.slot(new.slot).node) == (2, "n7")
    assert world.say(new, new.report(Kind.READY)).ack == 2
    assert world.reply(late).status == 403  # its key is gone


def test_a_recorded_hello_of_an_earlier_epoch_binds_nothing(world: IntakeWorld) -> None:
    old = world.pilot()
    recorded = old.report(Kind.HELLO)
    world.reply(recorded)
    world.change(old.slot, state=SlotState.UNBOUND, epoch=2, sequence=0, node=None, incarnation="")
    told = world.say(replace(old), recorded)
    assert told.error
    assert told.error["kind"] == "denied"
    assert told.standing.end
    assert world.slot(old.slot).state is SlotState.UNBOUND


def test_a_rank_outside_the_job_is_refused(world: IntakeWorld) -> None:
    pilot = world.pilot(9)
    told = world.say(pilot, pilot.report(Kind.HELLO))
    assert told.error
    assert "no slot" in told.error["message"]
    assert told.standing.end


def test_a_pilot_of_an_unwanted_job_is_bound_and_told_to_end(world: IntakeWorld) -> None:
    world.change_job(unwanted=True, reason="destroyed")
    pilot = world.pilot()
    told = world.say(pilot, pilot.report(Kind.HELLO))
    assert told.key
    assert told.standing.end
    assert told.standing.reason == "destroyed"


def test_a_pilot_of_a_job_that_is_over_is_bound_to_nothing(world: IntakeWorld) -> None:
    world.change_job(state=JobState.LOST, reason="gone")
    pilot = world.pilot()
    told = world.say(pilot, pilot.report(Kind.HELLO))
    assert (told.key, told.standing.end) == ("", True)
    assert world.slot(pilot.slot).state is SlotState.UNBOUND
    assert world.trail(pilot.slot)[0].effect.startswith("none")


# who is believed


def test_forgeries_all_look_alike(world: IntakeWorld) -> None:
    pilot, other = world.bound(0), world.bound(1, node="n2")
    zero = replace(pilot, key="00" * 32)
    nobody = SignedPilot("jffffff.0", "ab" * 32)
    empty = replace(world.pilot(1), slot=f"{world.job.tag}.1")
    forgeries = [
        replace(pilot, key=other.key).report(Kind.READY),  # another slot's key
        replace(pilot, key=world.job.secret).report(Kind.READY),  # the job's, which is for hellos only
        zero.report(Kind.RELEASED),
        nobody.report(Kind.HELLO),
        nobody.report(Kind.READY),
        replace(nobody, slot="../../x").poll(),
        replace(empty, key="cd" * 32).report(Kind.HELLO),
    ]
    tampered = json.loads(pilot.seal(Kind.READY, sequence=2))
    tampered["signed"] = tampered["signed"].replace('"sequence":2', '"sequence":3')
    forgeries.append(json.dumps(tampered).encode())
    assert {world.reply(data) for data in forgeries} == {world.reply(forgeries[0])}
    assert world.reply(forgeries[0]).status == 403
    assert world.slot(pilot.slot).state is SlotState.BOUND


def test_a_slot_without_a_key_believes_nobody_with_an_empty_one(world: IntakeWorld) -> None:
    said = Message(f"{world.job.tag}.0", "n1", 1, Kind.READY, sequence=1)
    assert world.reply(seal(said, "cd" * 32)).status == 403  # from here on the slot is known
    assert world.reply(seal(said, "")).status == 403
    assert world.reply(seal(said, "00" * 32)).status == 403
    poll = Message(f"{world.job.tag}.0", "n1", 1, Kind.POLL, turn=1)
    assert world.reply(seal(poll, "00" * 32)).status == 403


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"node": "n9"}, "denied"), ({"incarnation": "run9"}, "denied"), ({"epoch": 2}, "conflict")],
)
def test_who_holds_the_key_but_is_another_is_refused_by_a_signed_answer(
    world: IntakeWorld, changes: dict[str, Any], kind: str
) -> None:
    pilot = world.bound()
    for data in (pilot.seal(Kind.READY, sequence=2, **changes), pilot.seal(Kind.POLL, turn=1, **changes)):
        told = world.say(pilot, data)
        assert told.error
        assert told.error["kind"] == kind
    assert world.slot(pilot.slot).state is SlotState.BOUND


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b'{"signed": 1, "mac": ""}', b'{"signed": "[]", "mac": ""}'])
def test_garbage_is_told_so(world: IntakeWorld, data: bytes) -> None:
    reply = world.reply(data)
    assert reply.status == 400
    assert b"service 1 speaks version 1" in reply.body


def test_truncated_messages_are_refused(world: IntakeWorld) -> None:
    pilot = world.bound()
    data = pilot.report(Kind.READY)
    assert all(world.reply(data[:size]).status == 400 for size in range(0, len(data), 7))


def test_an_oversized_message_is_not_read(world: IntakeWorld) -> None:
    assert world.reply(b" " * (MAX_BYTES + 1)).status == 413


def test_another_version_is_refused_and_both_are_named(world: IntakeWorld) -> None:
    pilot = world.pilot()
    told = world.say(pilot, pilot.seal(Kind.HELLO, sequence=1, version=2, software="pilot 2"))
    assert told.error
    for word in ("version 2", "'pilot 2'", "this side version 1", "service 1"):
        assert word in told.error["message"]
    assert world.slot(pilot.slot).state is SlotState.UNBOUND


def test_an_answer_is_for_its_own_message_only(world: IntakeWorld) -> None:
    pilot = world.bound()
    first, second = pilot.report(Kind.READY), pilot.report(Kind.RELEASING)
    reply = world.reply(first)
    pilot.read(first, reply)
    with pytest.raises(Exception, match="right key"):
        pilot.read(second, reply)


# sequence


def test_reports_in_order_move_the_slot_on(world: IntakeWorld) -> None:
    pilot = world.bound()
    for kind, state in (
        (Kind.READY, SlotState.READY),
        (Kind.SIGNALLED, SlotState.PREEMPTING),
        (Kind.RELEASING, SlotState.RELEASING),
        (Kind.RELEASED, SlotState.RELEASED),
    ):
        assert world.say(pilot, pilot.report(kind, {"reason": "r"})).ack == pilot.sequence
        assert world.slot(pilot.slot).state is state
        assert world.changes[-1].slot.state is state
    assert [row.kind for row in world.trail(pilot.slot)] == ["hello", "ready", "signalled", "releasing", "released"]
    assert world.slot(pilot.slot).over_at


def test_a_gap_is_not_stored_and_the_acknowledgement_says_from_where(world: IntakeWorld) -> None:
    pilot = world.bound()
    ready, signalled = pilot.report(Kind.READY), pilot.report(Kind.SIGNALLED)
    assert world.say(pilot, signalled).ack == 1
    assert world.slot(pilot.slot).state is SlotState.BOUND
    assert world.say(pilot, ready).ack == 2
    assert world.say(pilot, signalled).ack == 3
    assert world.slot(pilot.slot).state is SlotState.PREEMPTING


def test_what_cannot_be_stored_is_not_acknowledged(world: IntakeWorld) -> None:
    pilot = world.bound()
    ready = pilot.report(Kind.READY)
    world.ledger.breaks = lambda: TransientError("the database is locked")
    assert world.reply(ready).status == 503
    world.ledger.breaks = lambda: None
    assert world.say(pilot, ready).ack == 2


def test_a_listener_that_fails_does_not_undo_what_is_stored() -> None:
    world = IntakeWorld()
    pilot = world.bound()

    def fail(_: object) -> None:
        raise ValueError

    world.intake._heard = fail
    assert world.say(pilot, pilot.report(Kind.READY)).ack == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"body": {"reason": "\ud800"}},
        {"body": {"reason": "a\0b"}},
        {"body": {"left": float("nan")}},
        {"body": {"reason": "x" * 70_000}},
        {"time_ms": 2**70},
        {"time_ms": -1},
        {"sequence": 2**40},
    ],
)
def test_what_no_store_could_keep_is_refused_before_it_gets_there(world: IntakeWorld, fields: dict[str, Any]) -> None:
    pilot = world.bound()
    told = world.say(pilot, pilot.seal(Kind.READY, **{"sequence": 2, **fields}))
    assert told.error
    assert told.error["kind"] == "invalid"
    assert world.slot(pilot.slot).sequence == 1


def test_the_deadline_counts_from_now_and_cannot_be_beyond_the_job(world: IntakeWorld) -> None:
    pilot, liar = world.bound(0), world.bound(1)
    world.say(pilot, pilot.report(Kind.READY, {"left": 60}))
    world.say(liar, liar.report(Kind.READY, {"left": 1e300}))
    bound_at = world.slot(pilot.slot).bound_at
    ends = [world.slot(one.slot).deadline for one in (pilot, liar)]
    assert bound_at
    assert [(end - bound_at).total_seconds() for end in ends if end] == [60, world.job.seconds]


# many at once


def test_reports_that_are_in_together_are_stored_together() -> None:
    world = IntakeWorld(slots=256)
    pilots = [world.bound(rank) for rank in range(256)]
    before = world.ledger.writes
    world.ledger.hold = True
    data = [pilot.report(Kind.READY) for pilot in pilots]
    replies = [world.post(one) for one in data]
    assert all(map(no_answer, replies))
    world.ledger.go()  # the first, which was alone
    world.ledger.go()  # all others
    answers = [pilot.read(one, now(reply)) for pilot, one, reply in zip(pilots, data, replies, strict=True)]
    assert {told.ack for told in answers} == {2}
    assert world.ledger.writes - before == 2


def test_one_that_breaks_the_store_spoils_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = IntakeWorld(slots=8)
    pilots = [world.bound(rank) for rank in range(8)]
    world.ledger.hold = True
    data = [pilot.report(Kind.READY, {"n": rank}) for rank, pilot in enumerate(pilots)]
    replies = [world.post(one) for one in data]
    write = MemoryLedger._write

    def picky(self: MemoryLedger, fn: object) -> object:
        kept = self.rows
        result = write(self, fn)  # type: ignore[arg-type]
        if any(row.body.get("n") == 5 for row in self.rows.trail_rows):
            self.rows = kept
            raise ValueError("the database does not like it")
        return result

    monkeypatch.setattr(MemoryLedger, "_write", picky)
    for _ in range(12):
        world.ledger.go()
    states = [world.slot(pilot.slot).state for pilot in pilots]
    assert states == [SlotState.READY] * 5 + [SlotState.BOUND] + [SlotState.READY] * 2
    for pilot, one, reply in list(zip(pilots, data, replies, strict=True))[:5]:
        assert pilot.read(one, now(reply)).ack == 2
    with pytest.raises(ValueError, match="does not like"):
        now(replies[5])


def test_what_the_engine_says_of_a_slot_is_in_every_answer(world: IntakeWorld) -> None:
    pilot = world.bound()
    world.standings[pilot.slot] = Standing(left=77.0, warned=4.0)
    told: Answer = world.say(pilot, pilot.report(Kind.READY))
    assert told.standing == Standing(left=77.0, warned=4.0)


def test_a_row_that_changed_while_a_report_was_stored_is_not_taken_for_what_it_was(world: IntakeWorld) -> None:
    pilot = world.bound()
    ready = pilot.report(Kind.READY)
    world.ledger.late = True
    reply = world.post(ready)  # stored, but nobody here knows yet
    world.change(pilot.slot, state=SlotState.LOST, reason="the node is down")
    world.ledger.go()
    assert pilot.read(ready, now(reply)).ack == 2
    world.ledger.late = False
    assert world.say(pilot, pilot.poll()).standing == Standing(end=True, reason="the node is down")


# by another way


def test_a_spooled_report_has_the_same_effect_and_a_poll_there_has_none(world: IntakeWorld) -> None:
    pilot = world.bound()
    ready = pilot.report(Kind.READY)
    assert now(_taken(world, ready))
    assert world.slot(pilot.slot).state is SlotState.READY
    assert now(_taken(world, pilot.poll()))
    assert now(_taken(world, b"garbage"))
    world.ledger.breaks = lambda: TransientError("locked")
    assert not now(_taken(world, pilot.report(Kind.RELEASED)))


def _taken(world: IntakeWorld, line: bytes) -> Deferred[bool]:
    return Deferred.fromCoroutine(world.intake.take(line))

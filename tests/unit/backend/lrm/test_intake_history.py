"""Whatever happens to reports on their way, a slot never goes back and nothing that was acknowledged is lost.

And the defects of the system that this one follows, each by its number, as far as reports are concerned.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from flyinglow.backend.abilities import Reply
from flyinglow.backend.lrm.states import SlotState
from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.messages import Kind
from rigs.intake import IntakeWorld, SignedPilot, now

ORDER = [
    SlotState.UNBOUND,
    SlotState.BOUND,
    SlotState.READY,
    SlotState.PREEMPTING,
    SlotState.RELEASING,
    SlotState.RELEASED,
]
LIVES = [
    [Kind.READY, Kind.RELEASING, Kind.RELEASED],
    [Kind.READY, Kind.SIGNALLED, Kind.RELEASING, Kind.RELEASED],
    [Kind.FAILED, Kind.RELEASED],
    [Kind.SIGNALLED, Kind.RELEASING, Kind.RELEASED],
    [Kind.READY, Kind.READY, Kind.FAILED, Kind.SIGNALLED, Kind.RELEASED],
]
WAYS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["http", "spool", "lost", "down", "crash"])), max_size=40)


@given(life=st.sampled_from(LIVES), ways=WAYS)
def test_reports_that_are_lost_repeated_and_out_of_order(life: list[Kind], ways: list[tuple[int, str]]) -> None:
    world = IntakeWorld()
    pilot = world.pilot()
    hello = pilot.report(Kind.HELLO)
    world.say(pilot, hello)
    said = [hello] + [pilot.report(kind, {"left": 5, "n": number}) for number, kind in enumerate(life)]
    acknowledged, rank = 1, 1
    for number, way in [*ways, *((number, "http") for number in range(len(said)))]:
        acknowledged = max(acknowledged, _carry(world, pilot, said, number % len(said), way))
        slot = world.slot(pilot.slot)
        assert ORDER.index(slot.state) >= rank
        rank = ORDER.index(slot.state)
        assert slot.sequence >= acknowledged
        assert [row.sequence for row in world.trail(pilot.slot)] == list(range(1, slot.sequence + 1))
    assert world.slot(pilot.slot).state is SlotState.RELEASED
    assert [change.said.value for change in world.changes] == ["hello", *(kind.value for kind in life)]


def _carry(world: IntakeWorld, pilot: SignedPilot, said: list[bytes], number: int, way: str) -> int:
    """Bring one report, and return what was acknowledged."""
    data = said[number]
    hello = SignedPilot(pilot.slot, world.job.secret) if number == 0 else pilot
    if way == "crash":  # stored, then the service was killed before it could answer
        world.reply(data)
        world.start()
        return 0
    if way == "down":
        world.ledger.breaks = lambda: TransientError("locked")
        reply = world.reply(data)
        world.ledger.breaks = lambda: None
        return 0 if reply.status == 503 else hello.read(data, reply).ack
    if way == "spool":
        now(Deferred.fromCoroutine(world.intake.take(data)))
        return 0
    told = hello.read(data, world.reply(data))
    assert told.error is None
    return 0 if way == "lost" else told.ack


@given(st.binary(max_size=200))
def test_no_bytes_break_the_intake(data: bytes) -> None:
    assert IntakeWorld().reply(data).status in {400, 403}


@given(
    st.dictionaries(
        st.sampled_from(["slot", "node", "epoch", "kind", "sequence", "turn", "got", "session", "body", "incarnation"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just("poll"),
    )
)
def test_no_fields_break_the_intake(fields: dict[str, Any]) -> None:
    world = IntakeWorld()
    pilot = world.bound()
    before = world.slot(pilot.slot)
    try:
        data = pilot.seal(Kind.SAID, **{"body": {}, **fields})
    except (ValueError, TypeError):
        return
    reply: Deferred[Reply] = world.post(data)
    if reply.called:
        assert now(reply).status in {200, 403}
    else:
        world.intake.stop()
        assert now(reply).status == 200
    assert world.slot(pilot.slot).state is before.state


# notes on the system that this one follows list its defects by number


def test_defect_1_a_report_that_comes_twice_takes_no_second_slot() -> None:
    world = IntakeWorld(slots=4)
    pilots = [world.pilot(rank, node="n1", incarnation=f"run{rank}") for rank in range(2)]
    for pilot in pilots:
        data = pilot.report(Kind.HELLO)
        for _ in range(3):
            world.say(SignedPilot(pilot.slot, world.job.secret), data)
        world.say(pilot, data)
        ready = pilot.report(Kind.READY)
        assert [world.say(pilot, ready).ack for _ in range(3)] == [2, 2, 2]
    states = [world.slot(f"{world.job.tag}.{rank}").state for rank in range(4)]
    assert states == [SlotState.READY, SlotState.READY, SlotState.UNBOUND, SlotState.UNBOUND]
    assert len(world.changes) == 4


def test_defect_5_nothing_is_acknowledged_before_it_is_stored() -> None:
    world = IntakeWorld()
    pilot = world.bound()
    data = pilot.report(Kind.READY)
    world.ledger.hold = True
    reply = world.post(data)
    assert not reply.called  # the service may be killed here: the pilot was told nothing
    rows = world.ledger.rows
    world.ledger.hold, world.ledger._held = False, []
    world.start()
    assert world.ledger.rows is rows
    assert world.say(pilot, data).ack == 2
    assert world.slot(pilot.slot).state is SlotState.READY


def test_defect_5_killed_between_storing_and_answering_the_repeat_is_acknowledged_without_effect() -> None:
    world = IntakeWorld()
    pilot = world.bound()
    data = pilot.report(Kind.READY)
    world.reply(data)
    world.start()
    changes, trail = len(world.changes), world.trail(pilot.slot)
    assert world.say(pilot, data).ack == 2
    assert (len(world.changes), world.trail(pilot.slot)) == (changes, trail)


@pytest.mark.parametrize("skew_ms", [-(10**12), 0, 10**12])
def test_defect_12_a_wrong_clock_on_the_node_changes_nothing(skew_ms: int) -> None:
    world = IntakeWorld()
    pilot = world.bound()
    when = 1893499200123 + skew_ms
    world.say(pilot, pilot.seal(Kind.READY, {"left": 100}, sequence=2, time_ms=when))
    slot = world.slot(pilot.slot)
    assert slot.deadline
    assert slot.ready_at
    assert (slot.deadline - slot.ready_at).total_seconds() == 100
    world.say(pilot, pilot.seal(Kind.SIGNALLED, {"left": 8}, sequence=3, time_ms=when))
    assert world.slot(pilot.slot).state is SlotState.PREEMPTING  # never stale
    assert [row.sent_ms for row in world.trail(pilot.slot)][1:] == [when, when]  # in milliseconds, for the record


def test_defect_13_a_pilot_speaks_for_its_own_slot_only() -> None:
    world = IntakeWorld()
    one, two = world.ready(0), world.ready(1)
    posed = SignedPilot(two.slot, one.key, node=two.node, incarnation=two.incarnation, sequence=2)
    for kind in (Kind.RELEASED, Kind.SIGNALLED, Kind.SAID, Kind.POLL):
        assert world.reply(posed.seal(kind, {"lines": []}, sequence=3, turn=1)).status == 403
    posed.key = world.job.secret  # it is in its script: good for a first report, which another pilot made already
    assert world.reply(posed.seal(Kind.RELEASED, sequence=3)).status == 403
    stolen = SignedPilot(two.slot, world.job.secret, node="n9", incarnation="thief")
    assert world.say(stolen, stolen.report(Kind.HELLO)).key == ""
    assert world.slot(two.slot).state is SlotState.READY


def test_defect_18_what_is_said_of_a_slot_that_is_over_is_kept() -> None:
    world = IntakeWorld()
    pilot = world.ready()
    world.change(pilot.slot, state=SlotState.LOST, reason="the node is down")
    for kind in (Kind.SIGNALLED, Kind.RELEASING):
        assert world.say(pilot, pilot.report(kind)).ack == pilot.sequence
    assert world.slot(pilot.slot).state is SlotState.LOST
    world.say(pilot, pilot.report(Kind.RELEASED, {"reason": "ended by its own clock"}))
    assert world.slot(pilot.slot).state is SlotState.RELEASED
    effects = [(row.kind, row.effect) for row in world.trail(pilot.slot)]
    assert effects == [
        ("hello", "Unbound -> Bound in epoch 1"),
        ("ready", "Bound -> Ready"),
        ("signalled", "none: it is Lost"),
        ("releasing", "none: it is Lost"),
        ("released", "Lost -> Released"),
    ]

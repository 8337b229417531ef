"""A pilot of another version is refused, and who waits for its node reads both versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyinglow.backend.lrm.states import JobState, SlotState
from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.pilot.messages import Kind
from rigs.intake import IntakeWorld, SignedPilot
from rigs.lrm_site import Site

SAID = (
    "the pilot on n1 (pilot 9) speaks version 99, this service (service 1) version 1: upgrade this service (service 1)"
)


def hello(pilot: SignedPilot) -> bytes:
    """Seal the first message of a pilot of another version."""
    return pilot.seal(Kind.HELLO, sequence=1, version=99, software="pilot 9")


def test_why_it_is_refused_is_kept_with_the_slot_and_its_trail_once() -> None:
    world = IntakeWorld()
    pilot = world.pilot()
    for _ in range(3):
        assert world.say(pilot, hello(pilot)).error
    slot = world.slot(pilot.slot)
    assert (slot.state, slot.reason) == (SlotState.UNBOUND, SAID)
    (trail,) = world.ledger.rows.trail_rows
    assert (trail.kind, trail.effect, trail.body["version"]) == ("hello", f"none: {SAID}", "99")
    (change,) = world.changes
    assert change.slot == slot


def test_a_pilot_of_our_version_may_have_the_slot_all_the_same() -> None:
    world = IntakeWorld()
    pilot = world.pilot()
    world.say(pilot, hello(pilot))
    assert world.say(pilot, pilot.report(Kind.HELLO)).key
    slot = world.slot(pilot.slot)
    assert (slot.state, slot.reason) == (SlotState.BOUND, "")


def test_nothing_is_kept_of_strangers_other_messages_and_slots_that_are_held() -> None:
    world = IntakeWorld()
    free, held = world.pilot(1), world.bound()
    stranger = SignedPilot(free.slot, "00" * 32)
    assert world.reply(hello(stranger)).status == 403
    before = world.slot(held.slot), world.slot(free.slot)
    world.reply(replace(held, key=world.job.secret).seal(Kind.HELLO, sequence=1, version=99))
    world.reply(held.seal(Kind.READY, sequence=2, version=99))
    assert (world.slot(held.slot), world.slot(free.slot)) == before
    world.change_job(state=JobState.ENDED)
    world.reply(hello(free))
    assert world.slot(free.slot).reason == ""


def test_what_it_says_of_itself_is_cut_and_holds_no_control_characters() -> None:
    world = IntakeWorld()
    pilot = world.pilot()
    pilot.node = "n1\n\x00\ud800" + "x" * 1000
    world.say(pilot, pilot.seal(Kind.HELLO, sequence=1, version=[9] * 1000, software="p\x1b[2J"))
    reason = world.slot(pilot.slot).reason
    assert reason.isprintable()
    assert len(reason) < 500
    assert reason.encode()


def test_it_is_told_only_when_it_is_stored() -> None:
    world = IntakeWorld()
    pilot = world.pilot()
    world.ledger.breaks = lambda: TransientError("the ledger does not answer")
    assert world.reply(hello(pilot)).status == 503
    world.ledger.breaks = lambda: None
    assert world.say(pilot, hello(pilot)).error
    assert world.slot(pilot.slot).reason == SAID


def test_who_waits_reads_both_versions_when_the_job_has_ended() -> None:
    site = Site(silent=True)
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.until(lambda: len(site.pilots) == 2)
    for pilot in site.pilots:
        site.post(hello(pilot.signed), pilot.node)
    site.run(1)
    assert site.states()[1] == ["Unbound"] * 2
    assert not waiting
    for pilot in list(site.pilots):
        site.ended(pilot)
    site.until(lambda: waiting)
    with pytest.raises(BrokenError) as caught:
        waiting[0].raiseException()
    assert "the pilot on n1 (pilot 9) speaks version 99, this service" in caught.value.message
    assert "ended before all its nodes were ready" in caught.value.message

"""Tickets for slots: whom the service signs one for, and what is left out for pilots of before."""

import json
from dataclasses import replace

from flyinglow.pilot.messages import Answer, Kind, Standing, seal
from rigs.intake import IntakeWorld


def test_a_pilot_of_a_wanted_slot_gets_a_ticket_each_time_it_asks() -> None:
    world = IntakeWorld()
    pilot = world.bound()
    for _ in range(2):
        told = world.say(pilot, pilot.seal(Kind.TICKET))
        assert told.ticket == {"text": f"{pilot.slot} on n1", "signature": "s"}
        assert told.key == ""
    assert len(world.signed) == 2
    assert [row.kind for row in world.trail(pilot.slot)] == ["hello"]


def test_nobody_else_gets_one() -> None:
    world = IntakeWorld()
    pilot, stranger = world.bound(), world.pilot(1)
    assert world.reply(stranger.seal(Kind.TICKET)).status == 403  # not bound, and signed with the job's key
    for changes in ({"node": "n2"}, {"incarnation": "run2"}, {"epoch": 2}):
        told = world.say(pilot, replace(pilot, **changes).seal(Kind.TICKET))
        assert told.error
        assert told.ticket == {}
    world.standings[pilot.slot] = Standing(end=True, reason="destroyed")
    told = world.say(pilot, pilot.seal(Kind.TICKET))
    assert told.error
    assert "given back" in told.error["message"]
    world.standings.clear()
    world.change_job(unwanted=True)
    assert world.say(pilot, pilot.seal(Kind.TICKET)).ticket == {}
    assert world.signed == []


def test_answers_without_a_ticket_do_not_speak_of_tickets() -> None:
    """Pilots of jobs that began before there were any refuse what they do not know."""
    assert "ticket" not in json.loads(json.loads(seal(Answer(), "ab"))["signed"])
    assert "ticket" in json.loads(json.loads(seal(Answer(ticket={"text": "t"}), "ab"))["signed"])

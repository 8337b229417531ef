"""A pilot on a node that wants the service's signature: it asks each time, and says why when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import RefusedError
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Answer, Kind, Settings
from flyinglow.pilot.steps import _wants_ticket
from flyinglow.pilot.tickets import Tickets
from rigs.pilot_time import FakeTime

TICKET = {"text": "t", "signature": "s"}


class Line:
    """Answers as it is scripted to."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.said: list[Any] = []

    def say(self, message: Any, seconds: float) -> Answer:
        self.said.append(message)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(ticket=answer)

    def abandon(self) -> None: ...


def made(settings: Settings, time: FakeTime, *script: Any) -> tuple[Tickets, Identity, Line, list[int]]:
    rung: list[int] = []
    identity = Identity(settings, 0, "n1", clock=time.clock, incarnation="i", software="p")
    line = Line(*script)
    return Tickets(line, identity, 5.0, ring=lambda: rung.append(1), log=Log(-1, time.clock, "t")), identity, line, rung


def test_it_asks_when_it_is_bound_and_asked_to_and_anew_each_time(settings: Settings, time: FakeTime) -> None:
    tickets, identity, line, rung = made(settings, time, TICKET, {"text": "u", "signature": "v"})
    assert tickets.once() is None
    asked = tickets.ask()
    assert (tickets.once(), line.said) == (None, [])  # the slot's key is not there yet
    identity.bind(Answer(key="22" * 32))
    assert tickets.once() is None
    assert (asked.done, asked.result(), len(rung)) == (True, TICKET, 1)
    assert tickets.once() is None
    again = tickets.ask()
    tickets.once()
    assert again.result()["text"] == "u"
    assert [one.kind for one in line.said] == [Kind.TICKET, Kind.TICKET]


def test_it_asks_again_while_the_service_is_away_and_gives_up_when_it_is_refused(
    settings: Settings, time: FakeTime
) -> None:
    tickets, identity, _, rung = made(settings, time, TransientError("away"), RefusedError("set ticket_key"))
    identity.bind(Answer(key="22" * 32))
    asked = tickets.ask()
    assert tickets.once()
    assert not asked.done
    assert tickets.once() is None
    assert len(rung) == 1
    with pytest.raises(RefusedError, match="ticket_key"):
        asked.result()


def test_a_service_that_knows_no_tickets_is_named(settings: Settings, time: FakeTime) -> None:
    tickets, identity, _, _ = made(settings, time, {})
    identity.bind(Answer(key="22" * 32))
    asked = tickets.ask()
    tickets.once()
    with pytest.raises(Exception, match="gave no ticket"):
        asked.result()


def test_only_an_agent_that_says_so_wants_a_ticket() -> None:
    plain = {"version": "0.1", "node": "n", "drivers": []}
    assert not _wants_ticket({"body": plain})
    assert not _wants_ticket({"body": {**plain, "tickets": 1}})
    assert _wants_ticket({"body": {**plain, "tickets": True}})

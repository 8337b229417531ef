"""Only the service's own answers are believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import Line, RefusedError, VersionError
from flyinglow.pilot.messages import Answer, Kind, Settings, opened, seal
from rigs.pilot_time import FakeTime

KEY = "11" * 32


class Post:
    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def post(self, data: Any, seconds: Any) -> Any:
        return self.reply(opened(data)[2])

    def abandon(self) -> None: ...


@pytest.fixture
def identity(settings: Settings, time: FakeTime) -> Identity:
    return Identity(settings, 0, "n1", clock=time.clock, incarnation="i", software="pilot 0")


def say(identity: Identity, reply: Any) -> Answer:
    return Line(Post(reply), identity).say(identity.message(Kind.HELLO, {}, sequence=1), 5.0)


def test_an_authentic_answer_is_returned(identity: Identity) -> None:
    assert say(identity, lambda mac: (200, seal(Answer(ack=4), KEY, mac))).ack == 4


@pytest.mark.parametrize(
    "reply",
    [
        lambda mac: (200, seal(Answer(), "22" * 32, mac)),
        lambda mac: (200, seal(Answer(), KEY, "")),
        lambda mac: (200, b"<html>captive portal</html>"),
        lambda mac: (200, b""),
        lambda mac: (503, b"later"),
        lambda mac: (403, b"unknown"),
        lambda mac: (200, seal(Answer(error={"kind": "transient", "message": "version busy"}), KEY, mac)),
    ],
    ids=["key", "old", "html", "empty", "503", "403", "transient"],
)
def test_what_is_not_the_services_answer_is_as_good_as_none(identity: Identity, reply: Any) -> None:
    with pytest.raises(TransientError):
        say(identity, reply)


def test_a_signed_refusal_is_final(identity: Identity) -> None:
    with pytest.raises(RefusedError, match="no such slot"):
        say(identity, lambda mac: (200, seal(Answer(error={"kind": "unknown", "message": "no such slot"}), KEY, mac)))


def test_a_signed_answer_of_another_version_names_both(identity: Identity) -> None:
    with pytest.raises(VersionError, match=r".'service 9'. speaks version 2, this side version 1"):
        say(identity, lambda mac: (200, seal(Answer(version=2, software="service 9"), KEY, mac)))


def test_a_service_that_refuses_the_pilots_version_is_of_another(identity: Identity) -> None:
    wrong = {"kind": "invalid", "message": "the other side speaks version 1 ('pilot 0'), this side 2"}
    with pytest.raises(VersionError, match="pilot 0"):
        say(identity, lambda mac: (200, seal(Answer(error=wrong), KEY, mac)))


def test_an_unsigned_word_about_versions_counts_only_before_the_pilot_is_bound(identity: Identity) -> None:
    with pytest.raises(VersionError, match="service 9"):
        say(identity, lambda mac: (426, b"service 9 speaks version 2"))
    identity.bind(Answer(key=KEY))
    with pytest.raises(TransientError):
        say(identity, lambda mac: (426, b"service 9 speaks version 2"))


def test_a_message_names_slot_node_epoch_and_run(identity: Identity) -> None:
    said = identity.message(Kind.POLL, {}, session="s", turn=3, got=2)
    assert (said.slot, said.node, said.epoch, said.incarnation, said.software) == ("t1.0", "n1", 1, "i", "pilot 0")
    assert (said.session, said.turn, said.got, said.sequence) == ("s", 3, 2, 0)
    assert said.time_ms == 1_700_001_000_000
    assert json.dumps(said.body) == "{}"

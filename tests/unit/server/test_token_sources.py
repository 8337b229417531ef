"""Keys of issuers: fetched when they are old or a token names an unknown one, but not as often as callers like."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.server.callers.token_sources import AT_LEAST, TOO_OLD, FreshKeys, file_reader, url_reader
from rigs.tokens import jwk, jwks, rsa_key

REFRESH = 3600.0


class Source:
    """An issuer's key document, fetched when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.asked: list[Deferred[bytes]] = []
        self.keys = FreshKeys(
            "grid", lambda: b"", refresh=REFRESH, monotonic=self.clock.seconds, in_thread=lambda work: self._ask()
        )

    def _ask(self) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def look(self) -> None:
        Deferred.fromCoroutine(self.keys.look())

    def answer(self, *kids: str) -> None:
        self.asked[-1].callback(jwks(*(jwk(rsa_key(), kid) for kid in kids)).encode())

    def loaded(self, *kids: str) -> Source:
        self.look()
        self.answer(*kids)
        return self


def test_keys_are_waited_for_until_they_are_there() -> None:
    source = Source()
    with pytest.raises(TransientError):
        source.keys.find("one", "RS256")
    with pytest.raises(TransientError):
        source.keys.find("one", "RS256")
    assert len(source.asked) == 1
    source.answer("one")
    assert source.keys.find("one", "RS256")


def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    source = Source().loaded("one")
    source.clock.advance(AT_LEAST)
    with pytest.raises(TransientError):
        source.keys.find("two", "RS256")
    assert source.keys.find("one", "RS256")  # meanwhile the others are as good as ever
    source.answer("one", "two")
    assert source.keys.find("two", "RS256")


def test_a07_unknown_key_names_cause_one_fetch_a_minute() -> None:
    source = Source().loaded("one")
    for _ in range(600):
        source.clock.advance(1)
        try:
            assert source.keys.find("nobody", "RS256") is None
        except TransientError:
            source.answer("one")
    assert len(source.asked) - 1 == 600 // AT_LEAST


def test_a07_a_key_that_was_taken_back_is_forgotten() -> None:
    source = Source().loaded("one", "two")
    source.clock.advance(REFRESH)
    source.look()
    source.answer("two")
    assert source.keys.find("one", "RS256") is None
    assert source.keys.find("two", "RS256")


def test_keys_that_cannot_be_fetched_again_serve_for_a_day_and_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    source = Source().loaded("one")
    source.clock.advance(REFRESH)
    source.look()
    source.asked[-1].errback(TransientError("nobody is at home"))
    assert source.keys.find("one", "RS256")
    assert "nobody is at home" in str([record.__dict__ for record in caplog.records])
    source.clock.advance(TOO_OLD)
    with pytest.raises(TransientError):
        source.keys.find("one", "RS256")
    source.asked[-1].errback(TransientError("nobody is at home"))
    assert source.keys.find("one", "RS256") is None


def test_what_is_no_key_set_replaces_nothing() -> None:
    source = Source().loaded("one")
    source.clock.advance(REFRESH)
    source.look()
    source.asked[-1].callback(b"<html>")
    assert source.keys.find("one", "RS256")


def test_a_timer_fetches_when_it_is_time() -> None:
    source = Source()
    source.look()
    source.look()
    assert len(source.asked) == 1
    source.asked[-1].errback(TransientError("not yet"))
    source.look()
    assert len(source.asked) == 1
    source.clock.advance(AT_LEAST)
    source.look()
    source.answer("one")
    source.clock.advance(REFRESH - 1)
    source.look()
    assert len(source.asked) == 2
    source.clock.advance(1)
    source.look()
    assert len(source.asked) == 3


def test_a_file_is_read_with_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with pytest.raises(BrokenError, match=r"keys\.json cannot be read"):
        file_reader(file)()
    file.write_text(jwks())
    assert file_reader(file)() == jwks().encode()
    file.write_bytes(b" " * (300 << 10))
    with pytest.raises(BrokenError, match="larger"):
        file_reader(file)()


def test_a_wrong_file_of_authorities_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        url_reader("https://127.0.0.1:9/keys", tmp_path / "none.pem")()

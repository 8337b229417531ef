"""A07: a real service that takes the tokens of a real issuer of keys, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from lxml import etree

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.server.callers.token_sources import url_reader
from flyinglow.server.configuration.file import parse
from flyinglow.server.doctor import issuers
from rigs.daemon import Daemon, daemon_factory, daemon_store
from rigs.key_server import ISSUER, KeyServer, bearer, key_server
from rigs.soap import message
from rigs.tokens import jwk, jwks, raw, rsa_key
from rigs.waiting import eventually

__all__ = ["daemon_factory", "daemon_store"]

LIST = message("<flf:List/>")


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyServer]:
    """An issuer's key server, its files where the service may read them."""
    with key_server(tmp_path_factory.mktemp("fl")) as made:
        yield made


class Reply:
    """What the service answered."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status, self.challenge = response.status, response.headers.get("www-authenticate", "")
        self.body = response.read()
        self.detail = [etree.QName(each).localname for each in etree.fromstring(self.body).iterfind(".//detail/*")]


def ask(daemon: Daemon, *authorization: str, body: bytes = LIST) -> Reply:
    """Send a request; while the issuer's keys are fetched, again."""

    def once() -> Reply | None:
        connection = HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        connection.putrequest("POST", "/factory")
        for each in authorization:
            connection.putheader("Authorization", each)
        connection.putheader("Content-Type", "text/xml")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        found = None if response.status == 503 else Reply(response)
        connection.close()
        return found

    reply: Reply = eventually(once)
    return reply


def test_a_token_lets_its_owner_in_and_a07_bad_ones_get_a_fault_and_a_reason(
    daemon_factory: Callable[..., Daemon], keys: KeyServer
) -> None:
    daemon = daemon_factory(toml=keys.toml(), root=keys.ca_file.parent)
    assert ask(daemon, f"Bearer {bearer()}").status == 200
    nothing = ask(daemon)
    assert (nothing.status, nothing.challenge, nothing.detail) == (401, 'Bearer realm="flyinglow"', ["DeniedFault"])
    canary, old = "c4n4ry", int(time.time()) - 3600
    bad = {
        "another service": bearer(canary, aud="other"),
        "not one that this site trusts": bearer(canary, iss="https://evil.example"),
        "has expired": bearer(canary, exp=old, iat=old - 60),
        "signature": bearer(canary, key=rsa_key("evil")),
        "algorithm": raw({"alg": "none", "kid": "one"}, {"iss": ISSUER, "sub": canary}, b"x"),
        "longer": "x" * 9000,
    }
    for why, text in bad.items():
        reply = ask(daemon, f"Bearer {text}")
        assert reply.status == 401
        assert reply.challenge.startswith('Bearer realm="flyinglow", error="invalid_token"')
        assert why in reply.challenge
        assert reply.detail == ["DeniedFault"]
        assert canary.encode() not in reply.body
    assert ask(daemon, f"Bearer {bearer()}", f"Bearer {bearer()}").status == 401
    log = daemon.log.read_text()
    for why, text in bad.items():
        assert why in log
        assert text not in log
        assert text[-80:] not in log
    assert canary not in log
    assert keys.asked == 1


def test_while_the_keys_of_an_issuer_cannot_be_had_callers_are_told_to_come_again(
    daemon_factory: Callable[..., Daemon], keys: KeyServer
) -> None:
    keys.status = 500
    daemon = daemon_factory(toml=keys.toml(), root=keys.ca_file.parent)
    eventually(lambda: keys.asked)
    keys.status, keys.document = 200, jwks(jwk(rsa_key("two"), "two")).encode()
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=120)
    text = bearer(kid="two", key=rsa_key("two"))
    connection.request("POST", "/factory", LIST, {"Content-Type": "text/xml", "Authorization": f"Bearer {text}"})
    response = connection.getresponse()
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    connection.close()
    assert "the keys of a token issuer cannot be had" in daemon.log.read_text()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": 302, "headers": {"Location": "https://127.0.0.1:9/"}}, TransientError),
        ({"status": 404}, TransientError),
        ({"document": b" " * (300 << 10)}, BrokenError),
    ],
)
def test_a07_keys_are_fetched_from_where_they_are_and_in_reasonable_size(
    keys: KeyServer, change: dict[str, Any], expected: type[Exception]
) -> None:
    assert url_reader(keys.url, keys.ca_file)() == keys.document
    for name, value in change.items():
        setattr(keys, name, value)
    with pytest.raises(expected):
        url_reader(keys.url, keys.ca_file)()


def test_a07_an_issuer_that_says_a_byte_now_and_then_is_not_waited_for(keys: KeyServer) -> None:
    keys.drips = True
    with pytest.raises(TransientError, match="timed out"):
        url_reader(keys.url, keys.ca_file, 1.0)()


def test_a07_keys_of_an_unknown_server_are_not_believed(keys: KeyServer) -> None:
    with pytest.raises(TransientError, match="certificate verify failed"):
        url_reader(keys.url, None)()


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
def test_the_doctor_says_how_far_an_issuers_clock_is_off(keys: KeyServer, ahead: float) -> None:
    keys.ahead = ahead
    (found,) = issuers.examine(parse(keys.toml(), "test"))
    assert (found.name, found.ok) == ("issuer grid", not ahead), found
    assert ("s off ours" in found.detail) == bool(ahead)
    assert not ahead or found.detail.partition("its clock is ")[2][0] == ("+" if ahead > 0 else "-")

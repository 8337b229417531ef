"""The admin socket's lines."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from flyinglow.nodectl.errors import ConflictError
from flyinglow.server.administration.socket import AdminFactory
from flyinglow.server.administration.verbs import AdminVerbs
from flyinglow.server.audit import ADMIN_READS, Audit

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def echo(args: Mapping[str, Any]) -> Any:
    return {"got": dict(args)}


async def conflict(args: Mapping[str, Any]) -> Any:
    raise ConflictError("it is in use", {"held": 2})


async def bug(args: Mapping[str, Any]) -> Any:
    raise ZeroDivisionError("secret")


def answer(*lines: bytes) -> list[dict[str, Any]]:
    """Return what is answered to these lines."""
    # Twisted's own classes are not typed
    protocol: Any = AdminFactory({"echo": echo, "conflict": conflict, "bug": bug}).buildProtocol(None)
    transport: Any = cast("Any", StringTransport)()
    protocol.makeConnection(transport)
    for line in lines:
        protocol.dataReceived(line + b"\n")
    return [json.loads(line) for line in transport.value().splitlines()]


def test_each_line_is_answered_in_turn() -> None:
    first, second = answer(b'{"verb": "echo", "args": {"a": 1}}', b'{"verb": "echo"}')
    assert first == {"ok": True, "body": {"got": {"a": 1}}}
    assert second == {"ok": True, "body": {"got": {}}}


def test_an_error_keeps_its_kind_and_figures() -> None:
    (said,) = answer(b'{"verb": "conflict"}')
    assert said == {"ok": False, "error": {"kind": "conflict", "message": "it is in use", "figures": {"held": 2}}}


def test_a_bug_is_not_shown() -> None:
    (said,) = answer(b'{"verb": "bug"}')
    assert said["error"]["kind"] == "broken"
    assert "secret" not in said["error"]["message"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'"x"', b'{"args": {}}', b'{"verb": "paint"}', b"\xff"])
def test_what_is_no_request_is_refused(line: bytes) -> None:
    (said,) = answer(line)
    assert said["error"]["kind"] == "invalid"


class Connection:
    """A transport whose socket goes with the other end."""

    disconnecting = False

    def __init__(self) -> None:
        self.socket, self._other = socket.socketpair()

    def lose(self) -> None:
        for each in (self.socket, self._other):
            each.close()
        del self.socket

    def write(self, data: bytes) -> None:
        """Send to nobody."""


@pytest.mark.parametrize("ends", ["done", "conflict", "failed"])
def test_every_verb_that_changes_something_leaves_one_line_with_its_user_even_if_he_left(ends: str) -> None:
    none: Any = None
    lines: list[Mapping[str, Any]] = []
    waiting: list[Deferred[None]] = []

    async def verb(_args: Mapping[str, Any]) -> Any:
        waiting.append(Deferred())
        await waiting[-1]
        if ends == "conflict":
            raise ConflictError("it is in use")
        if ends == "failed":
            raise ZeroDivisionError
        return {}

    def heard(verb: str, args: Mapping[str, Any], outcome: str, peer: str) -> None:
        Audit(lines.append).verb(verb, args, outcome, at=NOON, peer=peer)

    table = AdminVerbs(none, none, none, "1", none).table
    for name in table:
        protocol: Any = AdminFactory(dict.fromkeys(table, verb), heard).buildProtocol(none)
        connection = Connection()
        protocol.makeConnection(connection)
        protocol.dataReceived(json.dumps({"verb": name, "args": {"name": "n1\n{}"}}).encode() + b"\n")
        connection.lose()
        protocol.connectionLost(none)
        waiting.pop().callback(None)
    assert {line["operation"] for line in lines} == set(table) - ADMIN_READS
    assert len(lines) == len(set(table) - ADMIN_READS)
    for line in lines:
        assert (line["outcome"], line["resource"]) == (ends, "n1\n{}")
        assert line["from"] == f"uid {os.geteuid()} pid {os.getpid()}"

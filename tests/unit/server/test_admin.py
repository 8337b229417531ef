"""The admin socket's lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from twisted.internet.testing import StringTransport

from flyinglow.nodectl.errors import ConflictError
from flyinglow.server.administration.socket import AdminFactory


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

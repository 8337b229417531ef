"""The admin socket: a 0600 unix socket in the state directory by which ``flyinglow admin`` talks to the daemon.

One JSON object a line each way: ``{"verb": "node.list", "args": {...}}`` is answered by ``{"ok": true, "body": ...}``
or ``{"ok": false, "error": {"kind", "message", "figures"}}``. Who can open the socket is an administrator.
``audit`` hears of each verb that was carried out, or refused, before it is answered.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted.python.failure import Failure

    Verb = Callable[[Mapping[str, Any]], Awaitable[Any]]
    Heard = Callable[[str, Mapping[str, Any], str, str], None]

log = logging.getLogger("flyinglow.server.administration.socket")


class AdminProtocol(LineOnlyReceiver):
    """One administrator's connection."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, verbs: Mapping[str, Verb], audit: Heard = lambda _verb, _args, _outcome, _peer: None) -> None:
        self._verbs, self._audit = verbs, audit

    def lineReceived(self, line: bytes) -> None:
        """Answer one request."""
        Deferred.fromCoroutine(self._answer(line)).addErrback(self._broken)

    async def _answer(self, line: bytes) -> None:
        try:
            verb, args = self._read(line)
        except FlyingLowError as error:
            self._fail(error)
            return
        log.info("admin", extra={"verb": verb, "args_given": sorted(args)})
        outcome, peer = "failed", self._peer()  # who may be gone when it is done
        try:
            body = await self._verbs[verb](args)
            outcome = "done"
        except FlyingLowError as error:
            outcome = error.kind
            body = error
        finally:
            self._audit(verb, args, outcome, peer)
        if isinstance(body, FlyingLowError):
            self._fail(body)
        else:
            self._reply({"ok": True, "body": body})

    def _peer(self) -> str:
        """Return which user, of which process, is at the other end."""
        try:
            credentials = cast("Any", self.transport).socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except (AttributeError, OSError):
            return ""
        process, user, _ = struct.unpack("3i", credentials)
        return f"uid {user} pid {process}"

    def _read(self, line: bytes) -> tuple[str, Mapping[str, Any]]:
        try:
            message = json.loads(line)
            verb, args = message["verb"], message.get("args") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            text = "not an admin request: a JSON object with verb and args is expected"
            raise InvalidError(text) from None
        if verb not in self._verbs:
            text = f"unknown verb {verb!r}; known are {', '.join(sorted(self._verbs))}"
            raise InvalidError(text)
        if not isinstance(args, dict):
            text = "the args of an admin request are an object"
            raise InvalidError(text)
        return verb, args

    def _fail(self, error: FlyingLowError) -> None:
        self._reply({"ok": False, "error": {"kind": error.kind, "message": error.message, "figures": error.figures}})

    def _broken(self, failure: Failure) -> None:
        log.error("an admin request failed", exc_info=failure.value)
        self._fail(BrokenError(f"the daemon failed to do this ({type(failure.value).__name__}); its log says more"))

    def _reply(self, message: Mapping[str, Any]) -> None:
        if self.transport is not None:
            line = json.dumps(message).encode() + self.delimiter
            cast("Any", self.transport).write(line)


class AdminFactory(Factory):
    """Makes a protocol for each administrator that connects."""

    noisy = False

    def __init__(self, verbs: Mapping[str, Verb], audit: Heard = lambda _verb, _args, _outcome, _peer: None) -> None:
        self._verbs, self._audit = verbs, audit

    def buildProtocol(self, addr: object) -> AdminProtocol:
        """Serve one connection."""
        protocol = AdminProtocol(self._verbs, self._audit)
        protocol.factory = self
        return protocol

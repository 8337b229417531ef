"""The admin socket: a 0600 unix socket in the state directory by which ``flyinglow admin`` talks to the daemon.

One JSON object a line each way: ``{"verb": "node.list", "args": {...}}`` is answered by ``{"ok": true, "body": ...}``
or ``{"ok": false, "error": {"kind", "message", "figures"}}``. Who can open the socket is an administrator.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted.python.failure import Failure

    Verb = Callable[[Mapping[str, Any]], Awaitable[Any]]

log = logging.getLogger("flyinglow.server.admin")


class AdminProtocol(LineOnlyReceiver):
    """One administrator's connection."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = verbs

    def lineReceived(self, line: bytes) -> None:
        """Answer one request."""
        Deferred.fromCoroutine(self._answer(line)).addErrback(self._broken)

    async def _answer(self, line: bytes) -> None:
        try:
            verb, args = self._read(line)
            log.info("admin", extra={"verb": verb, "args_given": sorted(args)})
            self._reply({"ok": True, "body": await self._verbs[verb](args)})
        except FlyingLowError as error:
            self._fail(error)

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

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = verbs

    def buildProtocol(self, addr: object) -> AdminProtocol:
        """Serve one connection."""
        protocol = AdminProtocol(self._verbs)
        protocol.factory = self
        return protocol

"""The node listener's HTTP: pilots' messages in, the back-end's answers out, nothing else.

A poll is held back for longer than most requests take; it ends with its connection. A stop of the service answers it.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from flyinglow.backend.abilities import Doorway
from flyinglow.pilot.messages import LONG_POLL, PATH
from flyinglow.server.listeners import closed_site
from flyinglow.wsrf.channel import HttpLimits, Request
from flyinglow.wsrf.channel import Listener as Site

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from flyinglow.backend.abilities import Reply
    from flyinglow.backend.api import Backend
    from flyinglow.server.configuration.settings import Listener

log = logging.getLogger("flyinglow.server.node_door")

_IDLE = 4 * LONG_POLL  # seconds that a connection may lie idle between two messages
_UNREAD = 128 << 20  # bytes of messages that are on their way in, all connections together
_JSON, _TEXT = b"application/json", b"text/plain; charset=utf-8"


def node_site(backend: Backend, listener: Listener, reactor: Any) -> Site:
    """Return what the node listener serves: the back-end's doorway, or nothing where it has none.

    A site's pilots may all come through one address, so a single peer may have all the connections.
    """
    if not isinstance(backend, Doorway):
        return closed_site(listener, reactor)
    limits = HttpLimits(
        body_bytes=listener.max_body,
        request_seconds=listener.timeout,
        idle_seconds=_IDLE,
        connections=listener.max_connections,
        connections_per_peer=listener.max_connections,
    )
    return _NodeSite(_Door(backend), limits, reactor)


class _Counted(Request):
    """A message that counts as long as it is on its way in."""

    _unread = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse what would be too much of all messages together; a pilot says it again."""
        site = self.channel.factory
        if site.unread + len(data) > _UNREAD:
            self.channel.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        site.unread += len(data)
        self._unread += len(data)
        super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Count it no more: it is whole."""
        self._let_go()
        super().requestReceived(command, path, version)

    def connectionLost(self, reason: Failure) -> None:
        """Count it no more: the rest will not come."""
        self._let_go()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _let_go(self) -> None:
        self.channel.factory.unread -= self._unread
        self._unread = 0


class _NodeSite(Site):
    """Counts what it holds of messages that are not whole: nobody has proved yet that they are a pilot's."""

    requestFactory = _Counted  # noqa: N815 - Twisted's name
    unread = 0


class _Door(Resource):
    """Every path leads here, and one goes through."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, doorway: Doorway) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._doorway = doorway

    def render(self, request: Any) -> Any:
        """Hand a message in and answer when there is an answer."""
        if request.path != PATH.encode():
            return _plain(request, HTTPStatus.NOT_FOUND, b"Nothing is offered here.\n")
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return _plain(request, HTTPStatus.METHOD_NOT_ALLOWED, b"Messages are posted here.\n")
        peer = str(getattr(request.getClientAddress(), "host", ""))
        answer = Deferred.fromCoroutine(self._doorway.answer(request.content.read(), peer))
        request.notifyFinish().addErrback(lambda _: answer.cancel())
        answer.addCallbacks(_write, _failed, callbackArgs=(request,), errbackArgs=(request,))
        return NOT_DONE_YET


def _plain(request: Any, status: HTTPStatus, text: bytes) -> bytes:
    request.setResponseCode(status.value)
    request.setHeader(b"content-type", _TEXT)
    return text


def _write(reply: Reply, request: Any) -> None:
    request.setResponseCode(reply.status)
    request.setHeader(b"content-type", _JSON if reply.status == HTTPStatus.OK else _TEXT)
    request.setHeader(b"content-length", b"%d" % len(reply.body))
    request.write(reply.body)
    request.finish()


def _failed(failure: Failure, request: Any) -> None:
    if isinstance(failure.value, CancelledError):
        return  # the pilot has hung up
    log.error("a pilot's message could not be answered", exc_info=(failure.type, failure.value, failure.tb))  # type: ignore[arg-type]
    request.write(_plain(request, HTTPStatus.INTERNAL_SERVER_ERROR, b"The service failed on this message.\n"))
    request.finish()

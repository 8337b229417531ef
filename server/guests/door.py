"""The guest listener's HTTP: guests' reports in, their launch set's values out, nothing else.

Whoever speaks here is a stranger until its token is known. What one token may ask for is bounded in number and at a
time; an address from which tokens come that nobody knows is heard little for a while, but for tokens that are known.
Not even then is it heard no more: behind it there may be others, whose tokens were never asked about.
Nothing of what a guest says is logged.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from flyinglow.backend.abilities import Reply
from flyinglow.server.guests.limits import KEPT, Buckets
from flyinglow.workspace.context_desk import LONGEST
from flyinglow.wsrf.channel import HttpLimits
from flyinglow.wsrf.channel import Listener as Site

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.python.failure import Failure

    from flyinglow.server.configuration.settings import Listener
    from flyinglow.workspace.context_desk import Desk

log = logging.getLogger("flyinglow.server.guests.door")

AT_ONCE = 4  # requests of one token under way
_BEARER = re.compile(rb"Bearer ([0-9a-f]{32})\Z", re.IGNORECASE)
_SECONDS = re.compile(rb"[0-9]{1,4}\Z")
_SHARE = 4  # of all connections, what one address may have: guests may come through their node's
_TEXT = b"text/plain; charset=utf-8"
_UNKNOWN = Reply(HTTPStatus.UNAUTHORIZED, b"This token is not known here.\n")
_OFTEN = Reply(HTTPStatus.TOO_MANY_REQUESTS, b"Too many requests; wait a little.\n")
_SLEEPY = Reply(HTTPStatus.BAD_REQUEST, b"wait is a number of seconds\n")
_VERBS = {b"/report": b"POST", b"/members": b"GET"}


def guest_site(desk: Desk, listener: Listener, reactor: Any) -> Site:
    """Return what the guest listener serves."""
    limits = HttpLimits(
        body_bytes=listener.max_body,
        request_seconds=listener.timeout,
        idle_seconds=LONGEST + listener.timeout,
        connections=listener.max_connections,
        connections_per_peer=max(1, listener.max_connections // _SHARE),
        headers=32,
        header_bytes=8192,
    )
    return Site(_Door(desk, reactor.seconds), limits, reactor)


class _Gate:
    """Counts what tokens and addresses ask for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._verbs = {
            b"/report": Buckets(clock, burst=10, seconds=6.0),
            b"/members": Buckets(clock, burst=20, seconds=1.0),
        }
        self._misses = Buckets(clock, burst=20, seconds=3.0)
        self._reserve = Buckets(clock, burst=4, seconds=2.0)  # for tokens never heard of, behind such an address
        self._known: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._under_way: Counter[str] = Counter()

    def enter(self, path: bytes, token: str, peer: str) -> bool:
        """Say whether a request may go on; one that may must ``leave``."""
        barred = token not in self._known and self._misses.empty(peer)
        if barred and (token in self._unknown or self._reserve.empty(peer)):
            return False
        if self._under_way[token] >= AT_ONCE or not self._verbs[path].take(token):
            return False
        if barred:
            self._reserve.take(peer)
        self._under_way[token] += 1
        return True

    def leave(self, token: str) -> None:
        """Count a request out."""
        self._under_way[token] -= 1
        if not self._under_way[token]:
            del self._under_way[token]

    def learn(self, token: str, peer: str, *, known: bool) -> None:
        """Remember whether a token was known."""
        self._known.pop(token, None)
        self._unknown.pop(token, None)
        if not known:
            self._misses.take(peer)
        kept = self._known if known else self._unknown
        kept[token] = None
        if len(kept) > KEPT:
            del kept[next(iter(kept))]


class _Door(Resource):
    """Every path leads here, and two go through."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, desk: Desk, clock: Callable[[], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk
        self._gate = _Gate(clock)

    def render(self, request: Any) -> Any:
        """Hand a message in and answer when there is an answer."""
        method = _VERBS.get(request.path)
        if method is None:
            return _set(request, Reply(HTTPStatus.NOT_FOUND, b"Nothing is offered here.\n"))
        if request.method != method:
            request.setHeader(b"allow", method)
            return _set(request, Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"This is done in another way.\n"))
        peer = str(getattr(request.getClientAddress(), "host", ""))
        token = _token(request)
        if token is None:
            return _set(request, _UNKNOWN)
        if not self._gate.enter(request.path, token, peer):
            return _set(request, _OFTEN)
        answer = Deferred.fromCoroutine(self._answered(request, token, peer))
        if request.path == b"/report":  # done to its end whoever hangs up: others wait for it
            answer = _apart(answer)
        request.notifyFinish().addErrback(lambda _: answer.cancel())
        answer.addCallbacks(_write, _failed, callbackArgs=(request,), errbackArgs=(request,))
        return NOT_DONE_YET

    async def _answered(self, request: Any, token: str, peer: str) -> Reply:
        try:
            reply = await self._asked(request, token)
        finally:
            self._gate.leave(token)
        self._gate.learn(token, peer, known=reply.status != HTTPStatus.UNAUTHORIZED)
        return reply

    def _asked(self, request: Any, token: str) -> Coroutine[Any, Any, Reply]:
        if request.path == b"/report":
            return self._desk.report(token, request.content.read())
        wait = request.args.get(b"wait", [b"0"])[-1]
        return self._desk.members(token, float(wait)) if _SECONDS.match(wait) else _at_once(_SLEEPY)


def _apart(work: Deferred[Reply]) -> Deferred[Reply]:
    """Return what has the same result and may be cancelled, which the work is not."""
    result: Deferred[Reply] = Deferred()
    work.addCallbacks(result.callback, result.errback)
    return result


async def _at_once(reply: Reply) -> Reply:
    return reply


def _token(request: Any) -> str | None:
    found = _BEARER.match(request.getHeader(b"authorization") or b"")
    return found[1].decode().lower() if found else None


def _set(request: Any, reply: Reply) -> bytes:
    request.setResponseCode(int(reply.status))
    request.setHeader(b"content-type", _TEXT)
    request.setHeader(b"content-length", b"%d" % len(reply.body))
    if reply.status == HTTPStatus.UNAUTHORIZED:
        request.setHeader(b"www-authenticate", b"Bearer")
    elif reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        request.setHeader(b"retry-after", b"10")
    return reply.body


def _write(reply: Reply, request: Any) -> None:
    request.write(_set(request, reply))
    request.finish()


def _failed(failure: Failure, request: Any) -> None:
    if isinstance(failure.value, CancelledError):
        return  # the guest has hung up
    log.error("a guest's message could not be answered", exc_info=(failure.type, failure.value, failure.tb))  # type: ignore[arg-type]
    _write(Reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"The service failed on this message.\n"), request)

"""The client listener: SOAP over HTTP by twisted.web, the calls on worker threads.

Answers without a SOAP envelope say that HTTP itself was wrong: 404 no such address, 405 another method, 413 too
large, 415 not a content type of SOAP, 408 too slow, 503 too many at once (Retry-After says when to come again). Who
sends too many is answered 429 with a fault; who is not known 401, who is
known and not let in 403: both with a fault, because that is what a SOAP client reads, and 401 says in
WWW-Authenticate how one becomes known.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThreadPool
from twisted.web import resource, server

from flyinglow.access.identity import LOCAL, UNKNOWN, Identity
from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.nodectl.errors import DeniedError, TransientError
from flyinglow.wsrf.channel import HttpLimits, Listener
from flyinglow.wsrf.endpoint import Answer, Endpoint, Pending
from flyinglow.wsrf.gate import Gate, too_many
from flyinglow.wsrf.operation import Inbound
from flyinglow.wsrf.workers import WorkerPool, worker_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lxml.etree import _Element
    from twisted.web.http import Request

    from flyinglow.wsrf.addresses import Addresses

__all__ = ["HttpLimits", "WorkerPool", "client_site", "local", "worker_pool"]

log = logging.getLogger("flyinglow.wsrf")

_SOAP: Final = {"text/xml": "1.1", "application/soap+xml": "1.2"}
_XML: Final = "text/xml; charset=utf-8"
_READ: Final = (b"GET", b"HEAD")


def local(_request: Request) -> Identity:
    """Authenticate nobody: everybody is the one local caller (for a listener on loopback)."""
    return LOCAL


def client_site(
    endpoints: Sequence[Endpoint],
    *,
    reactor: Any,
    pool: WorkerPool,
    addresses: Addresses,
    limits: HttpLimits | None = None,
    authenticate: Callable[[Request], Identity] = local,
    gate: Gate | None = None,
) -> Listener:
    """Return the site that serves these endpoints, each at its name, and their schemas.

    ``authenticate`` is called on the reactor for each request and may raise UnauthenticatedError (401), DeniedError
    (403) or TransientError (503). ``gate`` says how much one caller gets.
    """
    limits = limits or HttpLimits()
    front = Front(endpoints, reactor, pool, addresses, limits, authenticate, gate or Gate(reactor.seconds))
    return Listener(front, limits, reactor)


class Front(resource.Resource):
    """Finds the endpoint that a request is for, and carries bytes between it and the connection."""

    isLeaf = True

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        reactor: Any,
        pool: WorkerPool,
        addresses: Addresses,
        limits: HttpLimits,
        authenticate: Callable[[Request], Identity],
        gate: Gate,
    ) -> None:
        super().__init__()
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._schemas = {name: data for point in endpoints for name, data in point.contract.served.items()}
        self._reactor = reactor
        self._pool = pool
        self._addresses = addresses
        self._limits = limits
        self._authenticate = authenticate
        self._gate = gate
        self._pending = 0

    def render(self, request: Request) -> bytes | int:
        """Answer one request (twisted.web's hook)."""
        request.setHeader(b"server", b"flyinglow")
        steps = [unquote(step.decode("latin-1")) for step in request.path.strip(b"/").split(b"/")]
        if steps[0] == "schemas":
            return self._schema(request, steps[1:])
        endpoint = self._endpoints.get(steps[0])
        if endpoint is None or len(steps) > 2:  # noqa: PLR2004 # service and id
            return _plain(request, 404)
        resource_id = steps[1] if len(steps) == 2 else None  # noqa: PLR2004
        if request.method in _READ and b"wsdl" in request.uri.partition(b"?")[2].lower():
            return self._wsdl(request, endpoint, resource_id)
        if request.method != b"POST":
            return _plain(request, 405, allow=b"POST")
        return self._post(request, endpoint, resource_id)

    def _schema(self, request: Request, steps: list[str]) -> bytes:
        data = self._schemas.get("/".join(steps))
        if data is None:
            return _plain(request, 404)
        if request.method not in _READ:
            return _plain(request, 405, allow=b"GET, HEAD")
        request.setHeader(b"content-type", _XML.encode())
        return data

    def _wsdl(self, request: Request, endpoint: Endpoint, resource_id: str | None) -> bytes:
        request.setHeader(b"content-type", _XML.encode())
        if resource_id is None:
            return endpoint.wsdl(self._addresses.service(endpoint.name))
        return endpoint.wsdl(self._addresses.resource(endpoint.name, resource_id), "../schemas/")

    def _post(self, request: Request, endpoint: Endpoint, resource_id: str | None) -> bytes | int:
        kind = Message()
        kind["content-type"] = _header(request, "content-type") or "none/none"
        soap = _SOAP.get(kind.get_content_type())
        if soap is None or (_header(request, "content-encoding") or "identity").lower() != "identity":
            return _plain(request, 415)
        address = str(getattr(request.getClientAddress(), "host", ""))
        stranger = _inbound(request, kind, soap, UNKNOWN, resource_id)
        if self._pending >= self._limits.pending:
            return _later(request, endpoint, stranger)
        try:
            caller = self._authenticate(request)
        except DeniedError as error:
            if wait := self._gate.stranger(address):
                return _later(request, endpoint, stranger, 429, wait)
            refusal = endpoint.refuse(stranger, error)
            return _refused(request, refusal, error)
        except TransientError:
            return _later(request, endpoint, stranger)
        inbound = replace(stranger, caller=caller)
        if wait := self._gate.caller(caller):
            return _later(request, endpoint, inbound, 429, wait)
        if not self._gate.enter(caller):
            return _later(request, endpoint, stranger)
        self._pending += 1
        self._pool.spend(len(inbound.body))
        Deferred.fromCoroutine(self._answer(request, endpoint, inbound))
        return server.NOT_DONE_YET

    async def _answer(self, request: Request, endpoint: Endpoint, inbound: Inbound) -> None:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        try:
            answer = await deferToThreadPool(self._reactor, self._pool, endpoint.handle, inbound)
            if isinstance(answer, Pending):
                result = await self._wait(answer.awaitable)
                answer = await deferToThreadPool(self._reactor, self._pool, answer.finish, result)
        except Exception:
            log.exception("a request could not be answered")
            answer = Answer(500, "", b"")
        finally:
            self._pending -= 1
            self._gate.leave(inbound.caller)
        if not gone:
            _send(request, answer)

    async def _wait(self, awaitable: Awaitable[_Element]) -> _Element | Exception:
        """Wait for an operation that freed its thread, but not for ever."""
        waiting = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(_awaited(awaitable))
        waiting.addTimeout(self._limits.answer_seconds, self._reactor)
        try:
            return await waiting
        except WaitedTooLong:
            return TransientError("the service did not finish in time; what was asked for may still happen")
        except Exception as error:  # noqa: BLE001 # becomes a fault in Pending.finish
            return error


async def _awaited(awaitable: Awaitable[_Element]) -> _Element:
    return await awaitable


def _header(request: Request, name: str) -> str | None:
    value: str | None = request.getHeader(name)
    return value


def _parameter(kind: Message, name: str) -> str | None:
    value = kind.get_param(name)
    return value if isinstance(value, str) and value else None


def _inbound(request: Request, kind: Message, soap: str, caller: Identity, resource_id: str | None) -> Inbound:
    body: Any = request.content
    action = _header(request, "soapaction") if soap == "1.1" else _parameter(kind, "action")
    peer: Any = request.getClientAddress()
    return Inbound(
        body=body.getvalue(),
        soap=soap,
        caller=caller,
        peer=f"{getattr(peer, 'host', '')}:{getattr(peer, 'port', '')}",
        charset=_parameter(kind, "charset"),
        soap_action=(action or "").strip().strip('"'),
        resource=resource_id,
    )


def _later(request: Request, endpoint: Endpoint, inbound: Inbound, status: int = 503, wait: float = 1.0) -> bytes:
    """Say when to come again: 429 to who sent too many, 503 while there are too many of all."""
    answer = endpoint.refuse(inbound, too_many(wait), quiet=True)
    request.setResponseCode(status)
    request.setHeader(b"retry-after", str(math.ceil(wait)).encode("ascii"))
    request.setHeader(b"content-type", answer.content_type.encode("ascii"))
    return answer.body


def _refused(request: Request, answer: Answer, error: DeniedError) -> bytes:
    request.setResponseCode(403)
    if isinstance(error, UnauthenticatedError):
        request.setResponseCode(401)
        request.setHeader(b"www-authenticate", error.challenge.encode("ascii"))
    request.setHeader(b"content-type", answer.content_type.encode("ascii"))
    return answer.body


def _plain(request: Request, status: int, allow: bytes | None = None) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    if allow is not None:
        request.setHeader(b"allow", allow)
    return b""


def _send(request: Request, answer: Answer) -> None:
    request.setResponseCode(answer.status)
    if answer.content_type:
        request.setHeader(b"content-type", answer.content_type.encode("ascii"))
    request.setHeader(b"content-length", str(len(answer.body)).encode("ascii"))
    request.write(answer.body)
    request.finish()

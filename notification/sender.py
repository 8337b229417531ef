"""Notifications over HTTP: one POST, its status, and nothing of what a consumer may try with its answer.

Connections are kept and used again. No redirect is followed, no answer is kept, and the whole request has an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool, RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer  # type: ignore[import-untyped]

from flyinglow.notification.consumers import Consumers, Target
from flyinglow.notification.endpoint import CertificateError, ConsumerEndpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """Limits of one request: seconds to connect and in all, bytes of the answer, and connections kept a consumer."""

    connect_timeout: float = 5.0
    timeout: float = 15.0
    response_bytes: int = 65536
    connections: int = 8


@implementer(IBodyProducer)
class _Bytes:
    """A request's body, there at once."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """Write it all."""
        consumer.write(self._body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """Do nothing: it is all written."""

    def resumeProducing(self) -> None:
        """Do nothing: it is all written."""

    def stopProducing(self) -> None:
        """Do nothing: it is all written."""


class _Drain(Protocol):
    """Reads an answer's body to its end, so that the connection can be used again, and forgets it."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(self._cut)

    def dataReceived(self, data: bytes) -> None:
        """Forget it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take note of the end, whichever it was: the status is known already."""
        if not self.ended.called:
            self.ended.callback(None)

    def _cut(self, _: Deferred[None]) -> None:
        if self.transport is not None:
            cast("Any", self.transport).loseConnection()


class HttpSender:
    """Implements ``delivery.Sender`` over twisted.web's Agent.

    ``pool`` runs the look-ups of names; ``tls`` is an IPolicyForHTTPS, without which https is refused; whenever
    its ``trusted`` is another object, connections are made anew.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        consumers: Consumers,
        pool: ThreadPool,
        tls: Any = None,
        settings: SenderSettings | None = None,
    ) -> None:
        self._reactor = reactor
        self._consumers = consumers
        self._threads = pool
        self._settings = settings = settings or SenderSettings()
        self._tls = tls
        self._endpoints = ConsumerEndpoints(
            reactor=reactor,
            locate=self._locate,
            tls=tls,
            connect_timeout=settings.connect_timeout,
            response_bytes=settings.response_bytes,
        )
        self._trusted = getattr(tls, "trusted", None)
        self._connect_anew()

    def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Deferred[int]:
        """Post and return the status, whatever follows it.

        Raises RefusedError when the consumer's host has come to mean a forbidden address, TimeoutError, and
        twisted's errors of connections.
        """
        return Deferred.fromCoroutine(self._exchange(address, headers, body))

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._connections.closeCachedConnections()  # type: ignore[no-untyped-call]

    def _connect_anew(self) -> None:
        self._connections = HTTPConnectionPool(self._reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._connections.maxPersistentPerHost = self._settings.connections
        self._connections.retryAutomatically = False  # retries are the courier's, with the state on the row
        agent = Agent.usingEndpointFactory(self._reactor, self._endpoints, pool=self._connections)  # type: ignore[no-untyped-call]
        self._agent: Agent = agent

    def _heed_files(self) -> None:
        """Use no connection again that was made before the authorities or their CRLs changed."""
        now = getattr(self._tls, "trusted", None)
        if now is not self._trusted:
            self._trusted, old = now, self._connections
            old.cachedConnectionTimeout = 0  # those that have a request under way are closed after it
            old.closeCachedConnections()  # type: ignore[no-untyped-call]
            self._connect_anew()

    async def _exchange(self, address: str, headers: Mapping[str, str], body: bytes) -> int:
        self._heed_files()
        end = self._reactor.seconds() + self._settings.timeout
        fields = Headers({"User-Agent": ["flyinglow"]})
        for name, value in headers.items():
            fields.setRawHeaders(name, [value])
        request = self._agent.request(b"POST", address.encode("ascii"), fields, cast("IBodyProducer", _Bytes(body)))
        request.addTimeout(self._settings.timeout, self._reactor)
        try:
            response: Any = await request
        except (RequestTransmissionFailed, ResponseNeverReceived) as error:
            raise _within(error) from error
        drain = _Drain()
        response.deliverBody(drain)
        drain.ended.addTimeout(max(end - self._reactor.seconds(), 0), self._reactor)
        with suppress(CancelledError, TimeoutError):
            await drain.ended
        return int(response.code)

    async def _locate(self, scheme: str, host: str, port: int) -> Target:
        try:
            ip_address(host)
        except ValueError:
            return await deferToThreadPool(self._reactor, self._threads, self._consumers.locate, scheme, host, port)
        return self._consumers.locate(scheme, host, port)  # nothing to look up: it does not block


def _within(error: RequestTransmissionFailed | ResponseNeverReceived) -> BaseException:
    """Return what ended the connection, in words for its owner; twisted.web's envelope around it says nothing."""
    for each in error.reasons:
        if isinstance(each.value, CertificateError):
            return each.value
        if isinstance(each.value, CancelledError):
            return TimeoutError("there was no answer in time")
        if isinstance(each.value, SSL.Error):
            return ConnectionError(f"TLS failed: {_said(each.value)}")
    return error


def _said(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in entries) or "the connection broke off"

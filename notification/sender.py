"""Notifications over HTTP: one POST, its status, and nothing of what a consumer may try with its answer.

Connections are kept and used again. No redirect is followed, no answer is kept, and the whole request has an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast

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

    ``pool`` runs the look-ups of names; ``tls`` is an IPolicyForHTTPS, without which https is refused.
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
        self._connections = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._connections.maxPersistentPerHost = settings.connections
        self._connections.retryAutomatically = False  # retries are the courier's, with the state on the row
        endpoints = ConsumerEndpoints(
            reactor=reactor,
            locate=self._locate,
            tls=tls,
            connect_timeout=settings.connect_timeout,
            response_bytes=settings.response_bytes,
        )
        agent = Agent.usingEndpointFactory(reactor, endpoints, pool=self._connections)  # type: ignore[no-untyped-call]
        self._agent: Agent = agent

    def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Deferred[int]:
        """Post and return the status, whatever follows it.

        Raises RefusedError when the consumer's host has come to mean a forbidden address, TimeoutError, and
        twisted's errors of connections.
        """
        return Deferred.fromCoroutine(self._exchange(address, headers, body))

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._connections.closeCachedConnections()  # type: ignore[no-untyped-call]

    async def _exchange(self, address: str, headers: Mapping[str, str], body: bytes) -> int:
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
    """Return what ended the connection, which twisted.web puts into an envelope that says nothing."""
    ended = [each.value for each in error.reasons if isinstance(each.value, CertificateError)]
    return ended[0] if ended else error

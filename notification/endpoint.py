"""Connections to consumers: each goes to a numeric address that was judged a moment before, and is metered.

A name is looked up and judged again at every connection, and the connection is made to the address that passed, so a
name that changes its meaning after Subscribe gains nothing. What a consumer sends back for one request is counted,
head and body alike, and a connection that brings more than the limit is cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped]

from flyinglow.notification.consumers import Target

Locate = Callable[[str, str, int], Awaitable[Target]]
"""(scheme, host, port) -> what to connect to; fails with RefusedError."""


class CertificateError(ConnectionError):
    """The consumer's certificate was not taken; the message says why."""


class _Metered(ProtocolWrapper):
    """Counts what comes back since something was last sent."""

    def __init__(self, factory: _Meter, wrapped: IProtocol) -> None:
        super().__init__(cast("Any", factory), wrapped)
        self._tls = factory.tls
        self._most = factory.most
        self._came = 0

    def write(self, data: bytes) -> None:
        """Send, and count from zero: a new request begins."""
        self._came = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Any) -> None:
        """Send, and count from zero."""
        self._came = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """Hand on what came up to the limit (the status may be in it); cut the connection when there is more."""
        left = self._most - self._came
        self._came += len(data)
        if left > 0:
            super().dataReceived(data[:left])  # type: ignore[no-untyped-call]
        if self._came > self._most:
            cast("Any", self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand on why it ended: of a certificate that was not taken the reason, which OpenSSL's error lacks."""
        refusal = getattr(self._tls, "refusal", "")
        if refusal:
            reason = Failure(CertificateError(refusal))  # type: ignore[no-untyped-call]
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class _Meter(WrappingFactory):
    """Wraps each connection's protocol."""

    protocol = _Metered
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, most: int, tls: Any) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.tls = tls
        self.most = most


@implementer(IStreamClientEndpoint)
class _ConsumerEndpoint:
    """Connects to one consumer."""

    def __init__(self, factory: ConsumerEndpoints, uri: URI) -> None:
        self._factory = factory
        self._uri = uri

    def __repr__(self) -> str:
        return f"<consumer {self._uri.netloc.decode('ascii', 'replace')}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803 - its caller names it
        """Locate, judge and connect."""
        return Deferred.fromCoroutine(self._factory.connect(self._uri, protocolFactory))


@implementer(IAgentEndpointFactory)
class ConsumerEndpoints:
    """What twisted.web's Agent asks for endpoints. ``tls`` is an IPolicyForHTTPS; None: https is refused."""

    def __init__(self, *, reactor: Any, locate: Locate, tls: Any, connect_timeout: float, response_bytes: int) -> None:
        self._reactor = reactor
        self._locate = locate
        self._tls = tls
        self._timeout = connect_timeout
        self._most = response_bytes

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a consumer; nothing is looked up before it connects."""
        return cast("IStreamClientEndpoint", _ConsumerEndpoint(self, uri))

    async def connect(self, uri: URI, protocols: IProtocolFactory) -> IProtocol:
        """Connect to the address that passes the check now. Raises RefusedError or a connection's error."""
        host = uri.host.decode("ascii")
        target = await self._locate(uri.scheme.decode("ascii"), host.strip("[]"), uri.port)
        of_version = TCP4ClientEndpoint if target.address.version == 4 else TCP6ClientEndpoint  # noqa: PLR2004
        endpoint: Any = of_version(self._reactor, str(target.address), target.port, timeout=self._timeout)
        tls = None
        if target.scheme == "https":
            if self._tls is None:
                raise ValueError("this installation has no TLS for https consumers")
            tls = self._tls.creatorForNetloc(uri.host, uri.port)
            endpoint = wrapClientTLS(tls, endpoint)
        metered = await endpoint.connect(_Meter(protocols, self._most, tls))
        wrapped: IProtocol = metered.wrappedProtocol
        return wrapped

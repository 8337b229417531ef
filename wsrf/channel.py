"""HTTP as far as a hostile peer can bend it: sizes are judged as bytes arrive, and every request has a deadline.

Twisted's own channel has an idle time-out only, which a byte now and then resets for ever, and it hands a body over
after all of it was received and stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.protocol import connectionDone
from twisted.web import http, server

from flyinglow.access.rates import neighbourhood

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_ABSOLUTE: Final = re.compile(rb"^https?://[^/?]*", re.IGNORECASE)
_LINGER: Final = 2.0
_NEWEST: Final = b"HTTP/1.1"
_ONCE: Final = (b"host", b"transfer-encoding", b"content-type", b"content-encoding", b"soapaction", b"expect")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one listener puts up with.

    ``request_seconds`` bounds the time from a request's first byte to its last, ``idle_seconds`` the silence between
    requests, ``answer_seconds`` the wait of an operation that frees its thread. ``pending`` bounds the requests that
    wait for a thread or for their operation. ``headers`` and ``header_bytes`` are HTTP's.
    """

    body_bytes: int = 1 << 20
    request_seconds: float = 30
    idle_seconds: float = 60
    answer_seconds: float = 60
    connections: int = 512
    connections_per_peer: int = 256
    pending: int = 256
    headers: int = 64
    header_bytes: int = 16384


class Channel(http.HTTPChannel):
    """One connection."""

    transport: Any
    factory: Any
    limits: HttpLimits = HttpLimits()
    _deadline: DelayedCall | None = None
    _busy = False
    refused = False

    @property
    def version(self) -> bytes:
        """Return the version of HTTP that the request being read names."""
        return bytes(self._version)

    def apply(self, limits: HttpLimits) -> None:
        """Take over the listener's limits."""
        self.limits = limits
        self.maxHeaders = limits.headers
        self.totalHeadersSize = limits.header_bytes

    def dataReceived(self, data: bytes) -> None:
        """Start the clock with the first byte of a request."""
        if self.refused:
            return
        if self._deadline is None and not self._busy:
            self._deadline = self.callLater(self.limits.request_seconds, self._too_slow)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """Stop the clock: from here on the time is ours."""
        if self.refused:
            return  # the clock that runs is the one that cuts it off
        self._stop_clock()
        self._busy = True
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        """Be ready for the next request."""
        self._busy = False
        super().requestDone(request)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer without reading the rest, and close; who goes on sending is cut off after a moment."""
        if self.refused:
            return
        self.refused = True
        self._stop_clock()
        self.setTimeout(None)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self.transport.write(head.encode("ascii"))
        # Closing while the peer still sends would reset the connection and take the answer from it.
        self._deadline = self.callLater(_LINGER, self._cut)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave no timer behind."""
        self._stop_clock()
        self.factory.closed(self)
        super().connectionLost(reason)

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()

    def _too_slow(self) -> None:
        self._deadline = None
        self.refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _cut(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def _stop_clock(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class Request(server.Request):
    """One request; its body stays in memory, because it is bounded."""

    channel: Channel
    content: Any

    def gotLength(self, length: int | None) -> None:
        """Refuse a head of two readings, and a body that says it is too long before any of it was sent."""
        self.content = BytesIO()
        if not self._plain(length):
            self.channel.refuse(HTTPStatus.BAD_REQUEST)
        elif length is not None and length > self.channel.limits.body_bytes:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _plain(self, length: int | None) -> bool:
        """Say whether everybody would see the same request here: a proxy in front may read otherwise than we do."""
        version, said = self.channel.version, self.requestHeaders
        if any(len(said.getRawHeaders(name, ())) > 1 for name in _ONCE):
            return False
        if said.hasHeader(b"transfer-encoding") and (length is not None or version != _NEWEST):
            return False
        return version != _NEWEST or said.hasHeader(b"host")

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse a body that turns out to be too long."""
        if self.channel.refused:
            return
        if self.content.tell() + len(data) > self.channel.limits.body_bytes:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Accept a target in absolute form, which some grid clients send."""
        if not self.channel.refused:
            super().requestReceived(command, _ABSOLUTE.sub(b"", path) or b"/", version)


class Listener(server.Site):
    """A site with limits: it counts its connections, and keeps no access log that a caller could fill."""

    protocol = Channel  # type: ignore[assignment] # declared as a wrapper that also speaks HTTP/2
    requestFactory = Request

    def __init__(self, root: Any, limits: HttpLimits, reactor: Any) -> None:
        super().__init__(root, reactor=reactor, timeout=limits.idle_seconds, parsePOSTFormSubmission=False)
        self.limits = limits
        self._peers: dict[str, int] = {}
        self._channels: dict[Channel, str] = {}

    def buildProtocol(self, addr: Any) -> Any:
        """Return a channel, or None (the connection is closed) when there are too many."""
        host = neighbourhood(str(getattr(addr, "host", "")))
        full = len(self._channels) >= self.limits.connections
        if full or self._peers.get(host, 0) >= self.limits.connections_per_peer:
            return None
        channel = super().buildProtocol(addr)
        channel.apply(self.limits)
        self._channels[channel] = host
        self._peers[host] = self._peers.get(host, 0) + 1
        return channel

    def closed(self, channel: Channel) -> None:
        """Count a connection out."""
        host = self._channels.pop(channel, None)
        if host is None:
            return
        self._peers[host] -= 1
        if not self._peers[host]:
            del self._peers[host]

    def log(self, request: Any) -> None:
        """Write nothing: faults are logged once, by the endpoint."""

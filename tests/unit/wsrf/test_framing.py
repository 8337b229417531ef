"""What a request's head may not say twice, or in two ways: where a proxy in front could read another request."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.web.resource import Resource

from flyinglow.wsrf.channel import HttpLimits, Listener

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"
PEER: Any = StringTransport
REACTOR: Any = MemoryReactorClock


class Root(Resource):
    """Answers everything alike."""

    isLeaf = True  # noqa: N815 # twisted.web's name

    def render(self, request: Any) -> bytes:
        """Answer."""
        return b"taken"


class Peer(PEER):  # type: ignore[misc] # Twisted's test transport has no types
    """A connection that notes how it ended."""

    aborted = False

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True


ROOT: Any = Root


def connect(host: str = "192.0.2.1", **limits: int) -> tuple[Any, Any, Any]:
    reactor = REACTOR()
    return (*_open(Listener(ROOT(), HttpLimits(**limits), reactor), host), reactor)


def _open(site: Listener, host: str) -> tuple[Any, Any]:
    transport: Any = Peer(peerAddress=type("Address", (), {"host": host, "port": 7})())
    channel = site.buildProtocol(transport.getPeer())
    if channel is not None:
        channel.makeConnection(transport)
    return channel, transport


@pytest.mark.parametrize(
    "data",
    [
        HEAD + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
        HEAD + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
        HEAD + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\nhi",
        HEAD + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
        HEAD + LENGTH + LENGTH + b"\r\nhi",
        HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
        HEAD + b"Host: y\r\n" + LENGTH + b"\r\nhi",
        HEAD.replace(b"Host: x\r\n", b"") + LENGTH + b"\r\nhi",
        HEAD + b"Content-Type: application/soap+xml\r\n" + LENGTH + b"\r\nhi",
        HEAD + b'SOAPAction: "urn:a"\r\nSOAPAction: "urn:b"\r\n' + LENGTH + b"\r\nhi",
        HEAD + b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n" + LENGTH + b"\r\nhi",
    ],
)
def test_a02_a_head_that_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    channel, transport, reactor = connect()
    channel.dataReceived(data + HEAD + LENGTH + b"\r\nhi")
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert b"taken" not in transport.value()
    reactor.advance(2)
    assert transport.aborted or transport.disconnecting


@pytest.mark.parametrize(
    "data",
    [
        HEAD + CHUNKED + b"\r\n" + CHUNKS,
        HEAD + LENGTH + b"\r\nhi",
        HEAD.replace(b"Host: x\r\n", b"").replace(b"1.1", b"1.0") + LENGTH + b"\r\nhi",
    ],
)
def test_a_head_that_says_each_thing_once_is_taken(data: bytes) -> None:
    channel, transport, _ = connect()
    channel.dataReceived(data)
    assert b" 200 OK" in transport.value().split(b"\r\n")[0]
    assert b"taken" in transport.value()


def test_a02_a_body_that_ends_where_it_is_too_long_keeps_no_connection() -> None:
    channel, transport, reactor = connect(body_bytes=1)
    channel.dataReceived(HEAD + CHUNKED + b"\r\n" + CHUNKS)
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    reactor.advance(2)
    assert transport.aborted


def test_a02_a_peer_of_ipv6_is_its_network() -> None:
    site = Listener(ROOT(), HttpLimits(connections_per_peer=1), REACTOR())
    first, _ = _open(site, "2001:db8::1")
    assert _open(site, "2001:db8::2")[0] is None
    assert _open(site, "2001:db8:0:1::2")[0] is not None
    first.connectionLost()
    assert _open(site, "2001:db8::2")[0] is not None

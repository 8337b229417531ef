"""How a connection under TLS ends: what was said last can be read, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from flyinglow.server.tls.linger import Lingering, LingeringFactory


class Transport:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def loseConnection(self) -> None:
        self.told.append("close")

    def loseWriteConnection(self) -> None:
        self.told.append("end")

    def abortConnection(self) -> None:
        self.told.append("abort")


class Heard(Protocol):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connection(clock: Clock) -> Lingering:
    inner = Factory.forProtocol(Heard)
    made: Lingering = LingeringFactory(inner, clock).buildProtocol(None)
    made.makeConnection(Transport())  # type: ignore[no-untyped-call]
    return made


def told(connection: Lingering) -> list[str]:
    transport: Any = connection.transport
    return list(transport.told)


def test_it_is_cut_only_some_time_after_all_was_sent(connection: Lingering, clock: Clock) -> None:
    connection.dataReceived(b"in")
    connection.loseConnection()
    connection.dataReceived(b"thrown away")
    clock.advance(3600)
    assert told(connection) == ["end"]  # the peer reads slowly
    connection.writeConnectionLost()
    clock.advance(1)
    assert told(connection) == ["end"]
    clock.advance(2)
    assert told(connection) == ["end", "abort"]
    heard: Any = connection.wrappedProtocol
    assert heard.data == b"in"


def test_no_timer_is_left_when_the_peer_ends(connection: Lingering, clock: Clock) -> None:
    connection.loseConnection()
    connection.writeConnectionLost()
    connection.readConnectionLost()
    connection.connectionLost()
    assert told(connection) == ["end", "close"]
    assert clock.getDelayedCalls() == []


def test_a_connection_that_is_lost_is_not_ended_again(connection: Lingering, clock: Clock) -> None:
    connection.connectionLost()
    connection.loseConnection()
    connection.writeConnectionLost()
    assert told(connection) == []
    assert clock.getDelayedCalls() == []

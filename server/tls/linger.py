"""Closes connections so that the other end can read what was said last.

Who closes a socket with bytes unread resets the connection, and a reset takes from the peer what it has not read yet:
the alert that says why its certificate was refused. A client of TLS 1.3 sends its request before it can know of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_SECONDS: Final = 2.0


@implementer(IHalfCloseableProtocol)
class Lingering(ProtocolWrapper):
    """One connection: ends what it sends at once, and throws away what comes until the peer ends, too."""

    factory: LingeringFactory
    _ending = False
    _gone = False
    _timer: Any = None

    def loseConnection(self) -> None:
        """Say that nothing more comes, and wait for the peer to have read it; not for long."""
        if not self._ending and not self._gone:
            self.disconnecting = 1
            self._ending = True
            self.transport.loseWriteConnection()  # type: ignore[union-attr]

    def writeConnectionLost(self) -> None:
        """Give the peer its time, from when all has been sent."""
        if not self._gone:
            self._timer = self.factory.clock.callLater(_SECONDS, self.transport.abortConnection)  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        """Close: the peer has ended."""
        self.transport.loseConnection()  # type: ignore[union-attr,misc]

    def dataReceived(self, data: bytes) -> None:
        """Hand on what comes while somebody listens."""
        if not self._ending:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave no timer behind, and begin none: TLS says good-bye to a connection that is lost, too."""
        self._gone = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class LingeringFactory(WrappingFactory[Lingering]):
    """Wraps what speaks TLS; a connection that it will not have is closed."""

    protocol = Lingering
    noisy = False

    def __init__(self, wrapped: Any, clock: Any) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.clock = clock

    def buildProtocol(self, addr: Any) -> Any:
        """Return a connection, or None."""
        inner = self.wrappedFactory.buildProtocol(addr)
        return None if inner is None else self.protocol(self, inner)

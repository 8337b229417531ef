"""A service on a real socket."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from flyinglow.backend.testing import ReactorThread
from flyinglow.wsrf.channel import HttpLimits
from rigs.reactor import reactor_thread
from rigs.soap import RealService, Shelf

__all__ = ["reactor_thread"]

LIMITS = HttpLimits(request_seconds=1, connections_per_peer=40, connections=40)


@pytest.fixture
def service(reactor_thread: ReactorThread) -> Iterator[RealService]:
    """The workspace endpoint over a shelf, on a free port of loopback."""
    running = RealService(reactor_thread, Shelf(), LIMITS, lambda: datetime.now(UTC))
    yield running
    running.stop()

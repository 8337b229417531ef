"""A service on a real socket."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from flyinglow.backend.testing import ReactorThread
from flyinglow.wsrf.channel import HttpLimits
from rigs.reactor import reactor_thread
from rigs.soap import RealService, Shelf

__all__ = ["reactor_thread"]

SECONDS = 30.0
"""For a request to be there, unless a test asks for fewer."""


@pytest.fixture
def service(reactor_thread: ReactorThread, request: pytest.FixtureRequest) -> Iterator[RealService]:
    """The workspace endpoint over a shelf, on a free port of loopback."""
    seconds = getattr(request, "param", SECONDS)
    limits = HttpLimits(request_seconds=seconds, connections_per_peer=40, connections=40)
    running = RealService(reactor_thread, Shelf(), limits, lambda: datetime.now(UTC))
    yield running
    running.stop()

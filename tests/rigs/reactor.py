"""A real reactor for tests that wait on processes and sockets: ``reactor_thread.run(lambda: coroutine())``."""

import pytest

from flyinglow.backend.testing import ReactorThread


@pytest.fixture(scope="session")
def reactor_thread() -> ReactorThread:
    """The one running reactor of this test process."""
    return ReactorThread.get()

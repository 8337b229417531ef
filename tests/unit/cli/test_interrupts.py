"""A Ctrl-C counts, wherever it came."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.cli import progress


class Lease:
    """Waits as ``Resource.wait`` does, and disposes of something at which Ctrl-C comes."""

    name = "vm"

    def __init__(self) -> None:
        self.rests = 0

    def wait(self, *states: str, pause: Callable[[float], object], **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            self.rests = 0  # as an interpreter does that cannot hand it to anybody
        for _round in range(3):
            self.rests += 1
            pause(0)


def test_one_that_was_swallowed_is_raised_at_the_next_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_subscribe", lambda resource, stack: None)
    lease: Any = Lease()
    session: Any = None
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        progress.wait(session, lease, ("Running",), None)
    assert lease.rests == 1
    assert signal.getsignal(signal.SIGINT) is before

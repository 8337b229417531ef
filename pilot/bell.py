"""What wakes the pilot's main thread: a pipe, into which the interpreter writes signals and other threads a mark.

One wait serves both, so no signal can come between a look and a wait, and nothing has to be done in a handler.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import Protocol

_RING = b"\0"  # no signal has the number 0
_CHUNK = 4096


class Waits(Protocol):
    """What the main thread waits on."""

    def ring(self) -> None:
        """Wake the main thread; from any thread, any number of times."""

    def wait(self, seconds: float | None) -> list[int]:
        """Wait until it rings, at most so long (None: for ever); return the numbers of the signals that came."""


class Bell:
    """A pipe; ``descriptor`` is what the interpreter may write signal numbers to."""

    def __init__(self) -> None:
        self._read, self.descriptor = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self.descriptor, False)

    def ring(self) -> None:
        """Wake the main thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes it as well
            os.write(self.descriptor, _RING)

    def wait(self, seconds: float | None) -> list[int]:
        """Wait until it rings or the time is over; return the signals that came, oldest first."""
        select.select([self._read], [], [], None if seconds is None else max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._read, _CHUNK) if number]
        return []

"""What an agent's orders come in by, and its answers go out by: lines of bytes and messages."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from flyinglow.nodectl.messages import MAX_LINE, OLDEST


class Lines:
    """Cuts a stream of bytes into lines; of a line that is too long nothing is kept but the fact."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that are complete now; None stands for one that was too long."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        lines: list[bytes | None] = []
        for line in complete:
            lines.append(None if self._skipping or len(line) > self._longest else line)
            self._skipping = False
        if len(self._rest) > self._longest:
            self._rest, self._skipping = b"", True
        return lines


class Output:
    """Writes one message a line, whole, from any thread; what cannot be written any more is dropped.

    ``version`` is the one that messages are in: the oldest, until an order tells which one its sender uses.
    """

    def __init__(self, descriptor: int) -> None:
        self.version = OLDEST
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._broken = False

    def send(self, message: dict[str, Any]) -> None:
        """Write a message."""
        data = json.dumps({"v": self.version, **message}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                while data and not self._broken:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._broken = True  # the service is gone; its orders are finished all the same

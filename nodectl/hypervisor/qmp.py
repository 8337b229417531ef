"""Talk to a QEMU over its control socket (QMP, the QEMU Machine Protocol): one command, one answer.

A connection is kept for a single conversation only, for QEMU serves one client at a time and a person may want to look.
Nothing is waited for before the first command: what QEMU says before its answer is read together with it, for each turn
of its main loop may have to wait for its guest.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from flyinglow.nodectl.errors import BrokenError, TransientError

CHUNK = 65536


class Qmp:
    """A conversation with one QEMU; use it as a context. ``seconds`` bounds every single answer."""

    def __init__(self, path: Path, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._seconds = seconds
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        self._greeted = False

    def __enter__(self) -> Qmp:  # noqa: PYI034 - typing.Self came with Python 3.11
        try:
            self._socket.settimeout(self._seconds)
            self._socket.connect(str(self._path))
            self._send({"execute": "qmp_capabilities"}, ())
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError):
                raise TransientError(f"QEMU cannot be reached at {self._path}: {error}") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def greet(self) -> None:
        """Wait until QEMU takes commands. Raises TransientError when it does not in time."""
        try:
            self._greeting()
        except OSError as error:
            raise TransientError(f"QEMU cannot be reached at {self._path}: {error}") from error

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return what QEMU answers. Raises BrokenError when it refuses, TransientError when it is silent or gone."""
        return self._conversation(command, arguments, ())

    def hand_over(self, name: str, descriptor: int) -> None:
        """Give QEMU an open file, which it knows by this name from now on. Raises as ``ask`` does."""
        self._conversation("getfd", {"fdname": name}, (descriptor,))

    def _conversation(self, command: str, arguments: dict[str, Any], descriptors: Sequence[int]) -> Any:
        order: dict[str, Any] = {"execute": command}
        if arguments:
            order["arguments"] = arguments
        try:
            self._send(order, descriptors)
            self._greeting()
            answer = self._until("return", "error")
        except OSError as error:
            raise TransientError(f"QEMU did not answer to {command}: {error}") from error
        if "error" in answer:
            raise BrokenError(f"QEMU refused {command}: {answer['error'].get('desc', answer['error'])}")
        return answer["return"]

    def _send(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        data = json.dumps(order).encode() + b"\r\n"
        if descriptors:
            data = data[socket.send_fds(self._socket, [data], list(descriptors)) :]
        self._socket.sendall(data)

    def _greeting(self) -> None:
        """Read what QEMU says before its first answer, once."""
        if not self._greeted:
            self._until("QMP")
            self._until("return", "error")
            self._greeted = True

    def _until(self, *words: str) -> dict[str, Any]:
        """Return the next message that has one of ``words``; events in between are not for us."""
        deadline = self._clock() + self._seconds
        while True:
            message = self._message(deadline)
            if any(word in message for word in words):
                return message

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self._socket.settimeout(left)
            chunk = self._socket.recv(CHUNK)
            if not chunk:
                raise ConnectionResetError("it ended the conversation")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise BrokenError(f"QEMU sent what is not JSON: {line[:80]!r}") from error
        if not isinstance(message, dict):
            raise BrokenError(f"QEMU sent what is not a message: {line[:80]!r}")
        return message

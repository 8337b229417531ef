"""The node's agent as the pilot holds it: one process for the whole slot, lines in, lines out.

It runs as root (through one ``sudo``), so the pilot cannot end it; it ends with its input. It is judged by its pipes,
not by its exit: a signal to the job may end ``sudo`` while the agent goes on.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO, Protocol

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.nodectl.messages import MAX_LINE
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.spawn import spawned

_CHUNK = 1 << 16


class Agents(Protocol):
    """An agent that can be started, again too."""

    @property
    def alive(self) -> bool:
        """Whether its output is open."""

    def start(self) -> None:
        """Start it; raises BrokenError when there is no such program."""

    def write(self, line: bytes, seconds: float) -> None:
        """Give it a line within that time; raises TransientError when that cannot be done."""

    def close(self) -> None:
        """End its input: it undoes what it holds, and ends."""

    def gone(self, seconds: float) -> bool:
        """Wait for the end of its output, at most so long."""


class AgentProcess:
    """``heard`` gets its lines, ``ended`` is told of its end, both on a thread of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        clock: Clock,
        heard: Callable[[Sequence[bytes]], None],
        ended: Callable[[], None],
        begun: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """``begun`` is one that was spawned already: the first ``start`` takes it over."""
        self._begun = begun
        self._argv = list(argv)
        self._clock = clock
        self._heard = heard
        self._ended = ended
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._over.set()

    @property
    def alive(self) -> bool:
        """Whether its output is open."""
        return not self._over.is_set()

    def start(self) -> None:
        """Start it in a session of its own, so that no terminal's or group's signal means it."""
        try:
            process = self._begun or spawned(self._argv)
        except OSError as error:
            raise BrokenError(f"the agent cannot be started ({' '.join(self._argv)}): {error}") from error
        self._begun = None
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        self._process = process
        over = self._over = threading.Event()
        threading.Thread(target=self._read, args=(process, over), name="agent", daemon=True).start()

    def write(self, line: bytes, seconds: float) -> None:
        """Give it a line. One that could only be given in part ends its input, as nothing after it could be read."""
        until = self._clock.monotonic() + seconds
        if not self._writing.acquire(timeout=max(0.0, seconds)):
            raise TransientError("the agent takes no orders: another one is stuck")
        try:
            self._write(line, until)
        finally:
            self._writing.release()

    def _write(self, line: bytes, until: float) -> None:
        stream = self._process.stdin if self._process else None
        if stream is None or stream.closed:
            raise TransientError("the agent is not there")
        rest = memoryview(line)
        try:
            while rest:
                _, writable, _ = select.select([], [stream], [], max(0.0, until - self._clock.monotonic()))
                if not writable:
                    raise TimeoutError("it does not read")
                rest = rest[stream.write(rest) or 0 :]
        except (OSError, ValueError) as error:
            if len(rest) < len(line):
                self._shut()
            raise TransientError(f"the agent takes no orders: {error}") from error

    def close(self) -> None:
        """End its input."""
        if self._writing.acquire(timeout=1.0):
            try:
                self._shut()
            finally:
                self._writing.release()
        else:
            self._shut()  # whoever is stuck in writing will find it closed

    def _shut(self) -> None:
        if self._process is not None:
            _close(self._process.stdin)

    def gone(self, seconds: float) -> bool:
        """Wait for the end of its output, and take leave of the process when it ended."""
        over = self._over.wait(max(0.0, seconds))
        if over and self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1.0)
        return over

    def _read(self, process: subprocess.Popen[bytes], over: threading.Event) -> None:
        rest = b""
        while data := _chunk(process.stdout):
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                self._heard(lines)
            if len(rest) > MAX_LINE:
                rest = b""  # not one of ours; its end will not be read as a message either
        _close(process.stdin)
        _close(process.stdout)
        over.set()
        self._ended()


def _chunk(stream: IO[bytes] | None) -> bytes:
    try:
        return os.read(stream.fileno(), _CHUNK) if stream else b""
    except OSError:
        return b""


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()

"""Reads the file that ``spool`` appends to, and hands its lines to the intake.

How far it was read is a durable mark, moved on only over lines that were taken in; a line that is read twice has no
second effect. A file that shrank, was replaced or written anew is read from its beginning; what was still unread of the
one it replaced is read first. A file that was read to its end and has grown large is emptied.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from flyinglow.backend.lrm.intake.spool import MAX_LINE
from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from twisted.python.failure import Failure

    from flyinglow.backend.lrm.ports import Ledger

log = structlog.get_logger(__name__)

_CHUNK = 4 * MAX_LINE  # bytes that are read at once, on the reactor: a local file
_LARGE = 1 << 20
_TAIL = 64  # bytes before the place, by which it is known that the file is still the one that was read


class Takes(Protocol):
    """What lines are handed to."""

    def take(self, line: bytes) -> Awaitable[bool]:
        """Take a line in; False when it could not be stored now."""


class _File:
    """The open file. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def size(self) -> int:
        return os.fstat(self._handle).st_size

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._handle, size, offset)

    def is_current(self) -> bool:
        """Tell whether the file is still what its path leads to."""
        mine = os.fstat(self._handle)
        try:
            theirs = self._path.stat()
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)

    def empty(self, size: int) -> bool:
        """Make it empty, unless somebody has appended to that size meanwhile."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            if self.size != size:
                return False
            os.ftruncate(self._handle, 0)
            return True
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._handle)


class SpoolReader:
    """Looks at the file every so many seconds; a file that is not there yet is an empty one."""

    def __init__(self, path: Path | str, ledger: Ledger, clock: Any, intake: Takes, every: float = 1.0) -> None:
        self._path = Path(path)
        self._mark = f"spool:{path}"
        self._ledger = ledger
        self._intake = intake
        self._every = every
        self._file: _File | None = None
        self._offset = 0
        self._tail: bytes | None = None  # None: the mark was not read yet
        self._troubled = ""
        self._busy: Deferred[None] | None = None
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._loop.start(self._every).addErrback(_broken)

    async def stop(self) -> None:
        """Finish the look that is under way and look no more."""
        if self._loop.running:
            self._loop.stop()
        if self._busy is not None and not self._busy.called:
            over: Deferred[None] = Deferred()
            self._busy.addBoth(lambda _: over.callback(None))
            await over
        self._close()

    async def look(self) -> None:
        """Take in what is there. Raises OSError or FlyingLowError; what was not taken in stays where it is."""
        if self._tail is None:
            value = await self._ledger.read(lambda tx: tx.marks.get(self._mark))
            offset, _, tail = (value or "0:").partition(":")
            self._offset, self._tail = int(offset), bytes.fromhex(tail)
        while (file := self._opened()) and await self._read(file, self._tail):
            continue

    def _turn(self) -> Deferred[None]:
        self._busy = Deferred.fromCoroutine(self.look())
        self._busy.addCallbacks(self._well, self._trouble)
        return self._busy

    def _well(self, _: None) -> None:
        self._troubled = ""

    def _trouble(self, failure: Failure) -> None:
        if not isinstance(failure.value, (OSError, FlyingLowError)):
            log.error("the spool of reports was not read", path=str(self._path), error=repr(failure.value))
        elif self._troubled != str(failure.value):  # said once, not every second
            self._troubled = str(failure.value)
            log.warning("the spool of reports cannot be read", path=str(self._path), error=self._troubled)

    def _opened(self) -> _File | None:
        if self._file is None:
            try:
                self._file = _File(self._path)
            except FileNotFoundError:
                return None
        return self._file

    async def _read(self, file: _File, tail: bytes) -> bool:
        """Take in one piece; False when there is no more for now."""
        if file.read(len(tail), self._offset - len(tail)) != tail:
            log.warning("the spool of reports is another; it is read from its beginning", path=str(self._path))
            self._offset, self._tail = 0, b""
        data = file.read(_CHUNK, self._offset)
        whole, newline, _ = data.rpartition(b"\n")
        if newline:
            return await self._take(whole + newline)
        if len(data) == _CHUNK:  # no line is that long
            await self._move(data)
            return True
        return await self._turned(file)

    async def _take(self, data: bytes) -> bool:
        moved = 0
        stored = True
        for line in data.split(b"\n")[:-1]:
            stored = not line.strip() or await self._intake.take(line)
            if not stored:
                break
            moved += len(line) + 1
        if moved:
            await self._move(data[:moved])
        return stored

    async def _move(self, data: bytes) -> None:
        """Go on behind what was read, durably."""
        offset, tail = self._offset + len(data), data[-_TAIL:]
        value = f"{offset}:{tail.hex()}"
        await self._ledger.run(lambda tx: tx.marks.put(self._mark, value), step="lrm.spool")
        self._offset, self._tail = offset, tail

    async def _turned(self, file: _File) -> bool:
        """Go on to the file that has taken this one's place, if one has; empty this one when it is large."""
        if not file.is_current():
            self._close()
            self._offset, self._tail = 0, b""
            return self._path.exists()
        if file.size > _LARGE and file.empty(self._offset):
            self._offset, self._tail = 0, b""
        return False

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _broken(failure: Failure) -> None:
    log.error("the spool of reports is not read any more", error=repr(failure.value))

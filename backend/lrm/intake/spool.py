"""The second way of reports (section 3.2 of the paper): a forced SSH command appends them to a file at the service.

    restrict,command="/PATH/TO/python -m flyinglow.backend.lrm.intake.spool append /var/spool/flyinglow/reports" KEY

``append`` reads messages, one a line, and succeeds when they are on disk. It believes nothing: whoever reads the file
checks the MACs. Only the standard library is used, so that the account needs nothing else.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_LINE = 256 << 10
"""Bytes of one message; a report is far shorter."""
MAX_MESSAGES = 64
"""Messages that one call appends."""
MAX_FILE = 64 << 20
"""Bytes of the whole file, beyond which nothing is appended: nobody reads it."""

OK, INVALID, FULL, BROKEN = 0, 1, 3, 4


class Refused(Exception):
    """Nothing was appended. ``code`` is the command's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def append(path: Path, lines: Sequence[bytes], most: int = MAX_FILE) -> None:
    """Append lines under a lock and wait until they are on disk. Raises Refused, or OSError.

    What a writer that was killed left unfinished is ended first, so that it spoils no other line.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        data = b"".join(line + b"\n" for line in lines)
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data
        if size + len(data) > most:
            raise Refused(f"{path} is full: is the service reading it?", FULL)
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def messages(stream: BinaryIO) -> Iterator[bytes]:
    """Read messages, one a line. Raises Refused for what cannot be one."""
    for number in range(MAX_MESSAGES + 1):
        line = stream.readline(MAX_LINE + 1)
        if not line:
            return
        if number == MAX_MESSAGES or len(line) > MAX_LINE:
            raise Refused(f"more than {MAX_MESSAGES} messages, or one of more than {MAX_LINE} bytes", INVALID)
        line = line.strip()
        if not (line.startswith(b"{") and line.endswith(b"}") and line.isascii()):
            raise Refused("this is not a pilot's message", INVALID)
        yield line


def main(arguments: Sequence[str] | None = None, stream: BinaryIO | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="flyinglow-spool", description="Append pilots' reports to a file.")
    parser.add_argument("verb", choices=["append"])
    parser.add_argument("file", type=Path)
    asked = parser.parse_args(arguments)
    try:
        lines = list(messages(stream or sys.stdin.buffer))
        if not lines:
            raise Refused("there is nothing to append", INVALID)
        append(asked.file, lines)
    except Refused as error:
        sys.stderr.write(f"flyinglow-spool: {error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"flyinglow-spool: {asked.file}: {error.strerror}\n")
        return BROKEN
    return OK


if __name__ == "__main__":
    sys.exit(main())

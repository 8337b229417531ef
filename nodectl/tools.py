"""Run the programs of the node, and tell their failures apart.

Every program is started by an argument list, with nothing on its standard input unless it is given, and with a limit
of time.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator, Sequence

from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, TransientError

TAIL = 600  # characters of a program's complaint that people get to see


def run(argv: Sequence[str], *, given: str | None = None, seconds: float = 60.0) -> str:
    """Return what a program printed. Raises BrokenError when it is missing or fails, TransientError when too slow."""
    try:
        done = subprocess.run(
            list(argv),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            check=False,
            timeout=seconds,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise BrokenError(f"{argv[0]} is not installed on this node, or not in PATH") from error
    except PermissionError as error:
        raise BrokenError(f"{argv[0]} may not be run on this node: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"{argv[0]} was not done after {seconds:g} s") from error
    if done.returncode != 0:
        raise BrokenError(f"{argv[0]} failed with {done.returncode}: {(done.stderr or done.stdout).strip()[-TAIL:]}")
    return done.stdout


def no_room(what: str, asked_mb: int, free_mb: int) -> ExhaustedError:
    """Return the error for something that does not fit on the node's disk."""
    figures = {"disk_mb.asked": asked_mb, "disk_mb.free": free_mb}
    return ExhaustedError(f"no room for {what}: {asked_mb} MiB are needed, {free_mb} MiB are free", figures)


@contextlib.contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Raise what ``from_os`` makes of a system call that fails."""
    try:
        yield
    except OSError as error:
        raise from_os(error, what) from error


def from_os(error: OSError, what: str) -> FlyingLowError:
    """Return the error for a system call that failed: out of space, out of memory, or something to be looked at."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExhaustedError(f"{what}: no space left at {error.filename or 'its disk'}")
    if error.errno in (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE):
        return ExhaustedError(f"{what}: {error.strerror}")
    return BrokenError(f"{what}: {error}")

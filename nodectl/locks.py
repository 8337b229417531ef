"""Lock files: held by a process, across threads and programs, until it lets go or ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


def take(path: Path, *, wait: bool) -> int:
    """Take the lock file; whoever waited for a file that was removed meanwhile tries again with the new one."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def take_soon(path: Path, seconds: float) -> int | None:
    """Take the lock file, or return None when somebody else has it for longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return take(path, wait=False)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)


def is_taken(path: Path) -> bool:
    """Tell whether somebody holds the lock file; nobody has to wait for whoever asks."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

"""Carry a QEMU's whole state to a file and back, through a descriptor that is handed over its control socket.

QEMU starts no program for it and opens no file, and so does it also after it has given up its rights.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.nodectl.hypervisor.qmp import Qmp

NAME = "state"
SECONDS = 600.0  # a guest's memory goes to a disk
POLL = 0.02
PRIVATE = 0o600
# what a transfer says of itself before it has come to an end
UNDER_WAY = frozenset({None, "none", "setup", "active", "device", "pre-switchover", "wait-unplug"})


def carry(qmp: Qmp, command: str, descriptor: int) -> None:
    """Let QEMU write its state to a descriptor (``migrate``) or read it (``migrate-incoming``), and wait for it.

    Raises BrokenError with QEMU's own words when it fails, TransientError when it is not done in time.
    """
    qmp.ask("stop")
    qmp.hand_over(NAME, descriptor)
    qmp.ask(command, uri=f"fd:{NAME}")
    deadline = time.monotonic() + SECONDS
    while (told := qmp.ask("query-migrate")).get("status") in UNDER_WAY:
        if time.monotonic() > deadline:
            qmp.ask("migrate_cancel")
            raise TransientError(f"QEMU was not done with {command} after {SECONDS:g} s")
        time.sleep(POLL)
    if told["status"] != "completed":
        raise BrokenError(f"QEMU failed to {command}: {told.get('error-desc', told['status'])}")


@contextlib.contextmanager
def being_written(file: Path) -> Iterator[int]:
    """Yield the descriptor of a new file, which gets its name when the block has ended well and it is on the disk."""
    part = file.with_name(f"{file.name}.part")
    with tools.os_errors(f"{file} could not be written"):
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        try:
            os.fchmod(handle, PRIVATE)
            yield handle
            os.fsync(handle)
            part.replace(file)
        finally:
            os.close(handle)
            part.unlink(missing_ok=True)

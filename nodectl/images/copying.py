"""Copy a disk by a program that may take long: watched, told of, and ended when it is not wanted any more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.images.meter import Meter

TURN = 0.1  # seconds between two looks at how far it is
LONGEST = 1 << 16  # bytes of what a program complains of that are read
BLOCK = 512  # bytes, of which a file's blocks are counted


def copy(words: Sequence[str], target: Path, meter: Meter, total: int | None = None) -> None:
    """Run a program that makes ``target``. Raises Cancelled, BrokenError, or InvalidError when it becomes too long."""
    with tempfile.TemporaryFile() as complaints:
        try:
            child = subprocess.Popen(
                list(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints
            )
        except OSError as error:
            raise BrokenError(f"{words[0]} cannot be run on this node: {error.strerror}") from error
        try:
            _await(child, target, meter, total)
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0:
            complaints.seek(0)
            said = complaints.read(LONGEST).decode(errors="replace").strip()
            raise BrokenError(f"{words[0]} failed with {child.returncode}: {said[-tools.TAIL :]}")


def _await(child: subprocess.Popen[bytes], target: Path, meter: Meter, total: int | None) -> None:
    while child.poll() is None:
        meter.at(_written(target), total)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(TURN)


def _written(target: Path) -> int:
    """Return the bytes that were really written: some programs make a file as long as it will be at once."""
    try:
        return os.stat(target).st_blocks * BLOCK  # noqa: PTH116 - a path of pathlib says no more
    except FileNotFoundError:
        return 0

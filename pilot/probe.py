"""What an unprivileged program can see of its node."""

from __future__ import annotations

import os
from pathlib import Path

OLDEST = (3, 9)
_MEMINFO = Path("/proc/meminfo")


def found(program: str) -> str | None:
    """Return where a program lies, or None."""
    places = ["."] if "/" in program else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for place in places:
        path = Path(place or ".") / program
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def memory_mb(meminfo: Path = _MEMINFO) -> int | None:
    """Return the memory that the node's system sees now, in MiB; None where it does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemTotal:")]
    return int(kilobytes[0]) // 1024 if kilobytes else None

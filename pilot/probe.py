"""What an unprivileged program can see of its node; written without ``pathlib``, which a starting pilot waits for."""

from __future__ import annotations

import os

OLDEST = (3, 9)
_MEMINFO = "/proc/meminfo"


def found(program: str) -> str | None:
    """Return where a program lies, or None."""
    places = ["."] if "/" in program else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for place in places:
        path = os.path.join(place or ".", program)  # noqa: PTH118 - see above
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - the same
            return path
    return None


def memory_mb(meminfo: str = _MEMINFO) -> int | None:
    """Return the memory that the node's system sees now, in MiB; None where it does not say."""
    try:
        with open(meminfo, encoding="ascii") as stream:  # noqa: PTH123 - see above
            kilobytes = [line.split()[1] for line in stream if line.startswith("MemTotal:")]
    except OSError:
        return None
    return int(kilobytes[0]) // 1024 if kilobytes else None

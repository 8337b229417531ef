"""The driver ``accounted``: nothing is shrunk, the books alone keep slots from taking more than the node has.

For nodes where the batch system itself holds each job to its memory, as with QEMU inside of what the job asked for.
The own share is what the last order said; a node that was started anew has all of it.
"""

from __future__ import annotations

from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.memory.api import Reading
from flyinglow.nodectl.vmdir import read_json, write_json


class Accounted:
    """A figure in a file."""

    def __init__(self, file: Path, total_mb: int) -> None:
        self._file = file
        self._total = total_mb

    def read(self) -> Reading:
        """Return the figure; all memory where there is none, or one of an earlier life of the node."""
        noted = read_json(self._file) or {}
        own = int(noted["own_mb"]) if noted.get("boot") == processes.boot_id() else self._total
        return Reading(own, str(own))

    def reserve(self, target_mb: int) -> None:
        """Note the figure."""
        write_json(self._file, {"own_mb": target_mb, "boot": processes.boot_id()})

    def release(self, raw: str) -> None:
        """Note the figure; all memory needs no note."""
        if int(raw) == self._total:
            self._file.unlink(missing_ok=True)
        else:
            self.reserve(int(raw))

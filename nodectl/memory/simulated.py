"""The driver ``simulated``: memory that exists in a file only, and takes its time, gets stuck or refuses as it is told.

Its wishes are the configuration's ``simulated.memory``: ``settle`` (seconds until a target is reached), ``least_mb``
(a lower target is refused) and ``stuck_mb`` (it never gets lower than that, though it accepts).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyinglow.nodectl import processes
from flyinglow.nodectl.errors import ExhaustedError
from flyinglow.nodectl.memory.api import Reading
from flyinglow.nodectl.vmdir import read_json, write_json


class SimulatedMemory:
    """A figure in a file, and how it was before it was changed."""

    def __init__(
        self, file: Path, total_mb: int, wishes: dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._total = total_mb
        self._settle = float(wishes.get("settle", 0.0))
        self._least = int(wishes.get("least_mb", 0))
        self._stuck = int(wishes.get("stuck_mb", 0))
        self._clock = clock

    def read(self) -> Reading:
        """Return the figure as it is by now."""
        own = self._own()
        return Reading(own, str(own))

    def reserve(self, target_mb: int) -> None:
        """Begin to move to the target. Raises ExhaustedError when that is what the configuration wants."""
        if target_mb < self._least:
            raise ExhaustedError(f"simulated: {target_mb} MiB is refused", {"memory_mb.target": target_mb})
        self._move(target_mb)

    def release(self, raw: str) -> None:
        """Begin to move back."""
        self._move(int(raw))

    def _move(self, target_mb: int) -> None:
        known = {"from": self._own(), "to": target_mb, "at": self._clock() + self._settle}
        write_json(self._file, {**known, "boot": processes.boot_id()})

    def _own(self) -> int:
        noted = read_json(self._file) or {}
        if noted.get("boot") != processes.boot_id():
            return self._total
        return max(int(noted["to"] if self._clock() >= noted["at"] else noted["from"]), self._stuck)

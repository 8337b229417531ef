"""The driver ``cgroup``: shrink the control group that the node's ordinary jobs run in. The balloon of QEMU nodes.

Under version 1 of control groups the kernel itself refuses a limit that the group's processes do not fit under, once
it has thrown away what can be thrown away. Under version 2 it would kill them instead, so there the group is first
asked to give memory up, and nothing is set while it has more. VMs must not be in that group (configuration key
``vm_cgroup``).
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.memory.api import Reading

MIB = 1 << 20
NO_LIMIT = "max"


class Cgroup:
    """The limit of one control group, of either version."""

    def __init__(self, group: Path, total_mb: int) -> None:
        self._group = group
        self._total = total_mb
        self._new = group / "memory.max"
        self._old = group / "memory.limit_in_bytes"

    def read(self) -> Reading:
        """Return the limit; a group without one has the whole machine."""
        raw = self._text(self._file())
        limit = self._total if raw == NO_LIMIT else int(raw) // MIB
        return Reading(min(limit, self._total), raw)

    def reserve(self, target_mb: int) -> None:
        """Set the limit. Raises ExhaustedError when the group's processes do not fit under it."""
        if self._file() == self._new:
            self._make_room(target_mb)
        try:
            self._write(self._file(), str(target_mb * MIB))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise self._too_full(target_mb) from error
            raise BrokenError(f"the limit of {self._group} cannot be set: {error}") from error

    def release(self, raw: str) -> None:
        """Set the limit as it was, or none."""
        try:
            self._write(self._file(), raw)
        except OSError as error:
            raise BrokenError(f"the limit of {self._group} cannot be set back to {raw}: {error}") from error

    def _make_room(self, target_mb: int) -> None:
        """Ask a group of version 2 to give up what it has above the target."""
        over = self._used() - target_mb * MIB
        if over > 0:
            with contextlib.suppress(OSError):  # older kernels have no such file; what counts is what is left
                self._write(self._group / "memory.reclaim", str(over))
        if self._used() > target_mb * MIB:
            raise self._too_full(target_mb)

    def _used(self) -> int:
        return int(self._text(self._group / "memory.current"))

    def _too_full(self, target_mb: int) -> ExhaustedError:
        return ExhaustedError(
            f"the jobs in {self._group} need more than {target_mb} MiB and cannot be shrunk to it now",
            {"memory_mb.target": target_mb},
        )

    def _file(self) -> Path:
        for file in (self._new, self._old):
            if file.exists():
                return file
        raise BrokenError(f"{self._group} is no control group with a memory limit (configuration key memory_cgroup)")

    def _text(self, file: Path) -> str:
        try:
            return file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise BrokenError(f"{file} cannot be read: {error}") from error

    def _write(self, file: Path, text: str) -> None:
        handle = os.open(file, os.O_WRONLY | os.O_TRUNC)  # never makes a file where the kernel has none
        try:
            os.write(handle, f"{text}\n".encode("ascii"))
        finally:
            os.close(handle)

"""The driver ``hugepages``: memory goes to the kernel's pool of huge pages, from which QEMU then takes a guest's.

The kernel answers with as many pages as it could put together, which may be fewer than asked for: who calls reads
back. Pages that were in the pool before are somebody else's and stay there.
"""

from __future__ import annotations

from pathlib import Path

from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.memory.api import Reading

POOL = Path("/proc/sys/vm/nr_hugepages")
MEMORY = Path("/proc/meminfo")


class HugePages:
    """The pool of huge pages of the kernel's default size."""

    def __init__(self, pool: Path = POOL, memory: Path = MEMORY) -> None:
        self._pool = pool
        self._memory = memory

    def read(self) -> Reading:
        """Return what is not in huge pages."""
        pages, size_kb, total_kb = self._figures()
        return Reading((total_kb - pages * size_kb) >> 10, str(pages), max(1, size_kb >> 10))

    def reserve(self, target_mb: int) -> None:
        """Ask for as many pages as leave ``target_mb``, or a little less, for a page has its size."""
        _, size_kb, total_kb = self._figures()
        self._set(str(max(0, (total_kb - ((target_mb + 1) << 10)) // size_kb + 1)))

    def release(self, raw: str) -> None:
        """Ask for as many pages as there were."""
        self._set(raw)

    def _figures(self) -> tuple[int, int, int]:
        """Return the number of pages, the size of one and the machine's memory, both in KiB."""
        try:
            lines = self._memory.read_text(encoding="ascii").splitlines()
            found = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines if line)}
            return int(self._pool.read_text(encoding="ascii")), found["Hugepagesize"], found["MemTotal"]
        except (OSError, ValueError, KeyError) as error:
            raise BrokenError(f"this kernel has no huge pages: {error!r}") from error

    def _set(self, pages: str) -> None:
        try:
            with self._pool.open("r+", encoding="ascii") as file:
                file.write(f"{pages}\n")
        except OSError as error:
            raise BrokenError(f"the number of huge pages cannot be set: {error}") from error

"""A guest's console: a file of bytes that only grows for whoever reads it.

Offsets count from the VM's very first byte, also after the beginning was cut off: a guest that talks without end must
not fill the node's disk. A mark counts only as a whole line's beginning, and only in the present run of the guest.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from flyinglow.nodectl.spec import whole_of
from flyinglow.nodectl.vmdir import Record, VmDir

MAX_ANSWER = 1 << 20  # bytes of console in one answer


class Console:
    """The console of one VM."""

    def __init__(self, vm: VmDir) -> None:
        self._vm = vm

    def size(self) -> int:
        """Return how many bytes the guest has written since the VM was made."""
        return self._base() + self._length()

    def read(self, offset: int, most: int) -> tuple[int, bytes, int]:
        """Return where the stretch really begins, its bytes, and the console's size."""
        base = self._base()
        start = min(max(offset, base), base + self._length())
        return start, self._bytes(start - base, most), self.size()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the stretch that an order asks for: bytes in base64, where it begins, how long the console is.

        Raises InvalidError for an order that asks for no stretch.
        """
        offset, most = whole_of(body, "offset", 0), whole_of(body, "max", MAX_ANSWER)
        start, data, size = self.read(offset, min(most, MAX_ANSWER))
        return {"data": base64.b64encode(data).decode("ascii"), "offset": start, "size": size}

    def contains(self, mark: str, offset: int) -> bool:
        """Tell whether a line after ``offset`` begins with ``mark``."""
        data = self._bytes(max(0, offset - self._base()))
        return re.search(rb"(?:^|[\r\n])[^\S\r\n]*" + re.escape(mark.encode()), data) is not None

    def cut(self, longest: int) -> None:
        """Throw the console's present bytes away when there are more than ``longest``. The VM's lock is held."""
        length = self._length()
        if length > longest:
            with self._vm.console.open("r+b") as file:
                file.truncate(0)  # QEMU writes on at the end, wherever that is
            record = self._vm.record() or Record()
            self._vm.update(record, console_base=record.console_base + length)

    def _base(self) -> int:
        return (self._vm.record() or Record()).console_base

    def _length(self) -> int:
        try:
            return self._vm.console.stat().st_size
        except FileNotFoundError:
            return 0

    def _bytes(self, offset: int, most: int = -1) -> bytes:
        try:
            with self._vm.console.open("rb") as file:
                file.seek(offset)
                return file.read(most)
        except FileNotFoundError:
            return b""

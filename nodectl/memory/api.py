"""What a driver of a node's memory must do, and what it may rely on.

The *own share* of a node is the memory that its ordinary work has: domain 0 on Xen, the control group of the batch
jobs, whatever is not in huge pages. Taking a slot shrinks it, giving the slot back lets it grow (section 3.2 of the
paper). Who calls keeps the books (``slots``) and waits: that a driver accepted a figure does not say it was reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reading:
    """The own share as it is now (MiB), and the figure behind it as the driver would set it again, to the last byte.

    ``grain_mb`` is how finely it can be set: a driver may leave so much less than it was asked to.
    """

    own_mb: int
    raw: str
    grain_mb: int = 1


class NodeMemory(Protocol):
    """A driver. Every verb may be repeated and none of them waits for memory to move."""

    def read(self) -> Reading:
        """Return the own share. Raises BrokenError when it cannot be known."""

    def reserve(self, target_mb: int) -> None:
        """Let the own share become ``target_mb``, less or more than it is.

        Raises ExhaustedError when the node cannot give up so much, BrokenError when the driver does not work at all.
        """

    def release(self, raw: str) -> None:
        """Let the own share become exactly what a ``Reading`` once said. Raises BrokenError when that fails."""


def machine_mb() -> int:
    """Return the memory of this machine (MiB)."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - a path object gains nothing
        words = next(line for line in file if line.startswith("MemTotal:")).split()
    return int(words[1]) >> 10

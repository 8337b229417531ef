"""Make empty partitions in milliseconds, whatever their size: sparse files, with a file system that fills lazily.

A new file reads as zeros, so that nothing of another lease is ever found on one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import DiskSpec

MIB = 1 << 20
EXT4, SWAP = "ext4", "swap"
FILE_SYSTEMS = (EXT4, SWAP)
LABEL_MAX = {EXT4: 16, SWAP: 15}  # bytes
LEAST_MB = {EXT4: 4, SWAP: 1}


@dataclass(frozen=True)
class Makers:
    """The programs that write file systems."""

    mke2fs: str = "mke2fs"
    mkswap: str = "mkswap"


def check(disk: DiskSpec) -> None:
    """Raise InvalidError when a blank disk cannot be made as it is ordered."""
    if disk.file_system is None:
        return
    if disk.blank_mb is None or disk.file_system not in FILE_SYSTEMS:
        raise InvalidError(
            f"disk {disk.name!r}: a blank disk can be made as {', '.join(FILE_SYSTEMS)}, not as {disk.file_system!r}"
        )
    if disk.blank_mb < LEAST_MB[disk.file_system]:
        raise InvalidError(f"disk {disk.name!r}: {disk.file_system} needs {LEAST_MB[disk.file_system]} MB at least")


def label_of(disk: DiskSpec) -> str:
    """Return the label by which a guest finds a blank disk: its name, as long as the file system allows."""
    return disk.name[: LABEL_MAX.get(disk.file_system or "", 0)]


def make(target: Path, disk: DiskSpec, makers: Makers) -> None:
    """Make a blank disk, anew when it is there. Raises BrokenError when a program fails."""
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        file.truncate((disk.blank_mb or 0) * MIB)
    label = label_of(disk)
    if disk.file_system == EXT4:
        lazy = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"
        tools.run([makers.mke2fs, "-q", "-F", "-t", EXT4, "-m", "0", "-L", label, "-E", lazy, str(target)])
    elif disk.file_system == SWAP:
        tools.run([makers.mkswap, "-L", label, str(target)])

"""Write an initramfs: a cpio archive in the kernel's own "newc" form, made without root and without cpio.

Every entry belongs to root whoever writes it, device nodes are just entries, and nothing is compressed: unpacking would
take an emulated processor longer than reading.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

DIRECTORY = 0o040755
CHARACTER_DEVICE = 0o020600
LINK = 0o120777
ALIGNMENT = 4


def write(root: Path, target: Path) -> None:
    """Write the tree below ``root`` as an initramfs, with a console and a null device added."""
    with target.open("wb") as file:
        archive = _Archive(file)
        archive.add("dev", DIRECTORY)
        archive.add("dev/console", CHARACTER_DEVICE, device=(5, 1))
        archive.add("dev/null", CHARACTER_DEVICE | 0o066, device=(1, 3))
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if name != "dev":
                archive.add_path(name, path)
        archive.add("TRAILER!!!", 0)


class _Archive:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0

    def add_path(self, name: str, path: Path) -> None:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            self.add(name, LINK, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            self.add(name, DIRECTORY)
        else:
            self.add(name, stat.S_IFREG | stat.S_IMODE(status.st_mode), path.read_bytes())

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        label = os.fsencode(name) + b"\0"
        # inode, mode, owner, group, links, time, size, device of the file, device it is, length of name, checksum
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(label), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._file.write(_padded(header + label) + _padded(data))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)

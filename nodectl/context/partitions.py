"""Where in an image the ext file system begins: at its start, or in the one partition that holds one.

Only numbers are read of a table that a tenant has written, and each is held against the file's length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flyinglow.nodectl.errors import InvalidError

SECTOR = 512
MAGIC_AT, MAGIC = 1024 + 0x38, b"\x53\xef"
TABLE_AT, ENTRY, ENTRIES = 446, 16, 4
SIGNATURE = b"\x55\xaa"
GPT, GPT_SIGNATURE = 0xEE, b"EFI PART"
MOST_ENTRIES, SMALLEST_ENTRY, LARGEST_ENTRY = 128, 128, 4096


def ext_offset(image: Path) -> int:
    """Return the byte at which the image's only ext file system begins. Raises InvalidError when it is not so."""
    with image.open("rb") as file:
        if _is_ext(file, 0):
            return 0
        found = sorted({start for start in _starts(file) if _is_ext(file, start)})
    if len(found) != 1:
        raise InvalidError(
            f"context is written into an image's ext2, ext3 or ext4 file system; this image has {len(found)} of them"
        )
    return found[0]


def _is_ext(file: BinaryIO, start: int) -> bool:
    return _read(file, start + MAGIC_AT, len(MAGIC)) == MAGIC


def _starts(file: BinaryIO) -> Iterator[int]:
    """Yield where partitions begin."""
    sector = _read(file, 0, SECTOR)
    if len(sector) < SECTOR or sector[-2:] != SIGNATURE:
        return
    for number in range(ENTRIES):
        entry = sector[TABLE_AT + number * ENTRY :][:ENTRY]
        if entry[4] == GPT:
            yield from _gpt_starts(file)
        elif entry[4]:
            yield int(struct.unpack_from("<I", entry, 8)[0]) * SECTOR


def _gpt_starts(file: BinaryIO) -> Iterator[int]:
    header = _read(file, SECTOR, SECTOR)
    if len(header) < SECTOR or not header.startswith(GPT_SIGNATURE):
        return
    table, count, size = struct.unpack_from("<QII", header, 72)
    if size < SMALLEST_ENTRY or size > LARGEST_ENTRY:
        return
    for number in range(min(count, MOST_ENTRIES)):
        entry = _read(file, table * SECTOR + number * size, size)
        if len(entry) == size and any(entry[:16]):
            yield int(struct.unpack_from("<Q", entry, 32)[0]) * SECTOR


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    try:
        file.seek(start)
    except (OSError, OverflowError):  # further than any file can be
        return b""
    return file.read(size)

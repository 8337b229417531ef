"""Look at a qcow2 header before any other program does, and refuse what an honest image does not have.

A header that a tenant wrote can name other files of the node (a backing or data file), or tables so large that reading
them takes the node's memory. Read here are 64 KiB at most and nothing is followed. Source:
QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl.errors import InvalidError

HEAD = struct.Struct(">4sIQIIQIIQQIIQ")
MORE = struct.Struct(">QQQII")
MAGIC = b"QFI\xfb"
LONGEST = 1 << 16
SMALLEST_CLUSTER, LARGEST_CLUSTER = 9, 21
KNOWN = 0b11001  # incompatible features that are taken: dirty, compression type, extended L2
BACKING, DATA, ENCRYPTION, BITMAPS = 0xE2792ACA, 0x44415441, 0x0537BE77, 0x23852875
ENTRY = 8


@dataclass(frozen=True)
class Qcow2:
    """What is of interest in a header. ``size`` is what the guest sees, in bytes."""

    size: int
    cluster: int
    l1_entries: int


def check(path: Path, most: int) -> Qcow2:
    """Return what a qcow2 file says of itself; ``most`` is how large it may seem to its guest, in bytes.

    Raises InvalidError when it is none, or one that this node does not open.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST)
    length = path.stat().st_size
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise InvalidError(f"image {path} is no qcow2 file")
    _, version, backing, _, bits, size, crypt, l1, l1_at, _, refcounts, snapshots, _ = HEAD.unpack_from(head)
    features, end = _more(path, head, version)
    if backing or features & 0b100 or _names(head, end) & {BACKING, DATA}:
        raise InvalidError(f"image {path} refers to another file, which is not allowed")
    if crypt or ENCRYPTION in _names(head, end):
        raise InvalidError(f"image {path} is encrypted: nobody here has its key")
    if (
        features & ~KNOWN
        or BITMAPS in _names(head, end)
        or snapshots
        or not SMALLEST_CLUSTER <= bits <= LARGEST_CLUSTER
    ):
        raise InvalidError(f"image {path} is damaged, has snapshots, or is of a kind that is not taken")
    if size > most:
        raise InvalidError(f"image {path} is larger than the {most >> 20} MiB that are allowed")
    cluster = 1 << bits
    _tables(path, length, cluster, size=size, l1=l1, l1_at=l1_at, refcounts=refcounts, extended=bool(features & 16))
    return Qcow2(size, cluster, l1)


def _more(path: Path, head: bytes, version: int) -> tuple[int, int]:
    """Return the incompatible features and where the header ends."""
    if version == 2:  # noqa: PLR2004 - the number of the format
        return 0, HEAD.size
    if version != 3 or len(head) < HEAD.size + MORE.size:  # noqa: PLR2004 - the same
        raise InvalidError(f"image {path} is a qcow2 file of a version that is not taken")
    features, _, _, _, length = MORE.unpack_from(head, HEAD.size)
    if not HEAD.size + MORE.size <= length <= LONGEST or length % 8:
        raise InvalidError(f"image {path} has a damaged header")
    return features, length


def _names(head: bytes, at: int) -> set[int]:
    """Return the kinds of a header's extensions. Raises InvalidError when their end is not to be seen."""
    kinds: set[int] = set()
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            return kinds
        kinds.add(kind)
        at += 8 + (length + 7) // 8 * 8
    raise InvalidError("the header of a qcow2 image has no end")


def _tables(
    path: Path, length: int, cluster: int, *, size: int, l1: int, l1_at: int, refcounts: int, extended: bool
) -> None:
    """Hold the tables to what an image of this size needs, and to where the file has bytes."""
    each = cluster * (cluster // (2 * ENTRY if extended else ENTRY))  # bytes of disk that one entry of L1 is for
    needed = -(-size // each)
    if not needed <= l1 <= needed + cluster // ENTRY or l1_at % cluster or l1_at + l1 * ENTRY > length + cluster:
        raise InvalidError(f"image {path} has a table (L1) of {l1} entries where {needed} are needed: not opened")
    if refcounts * cluster > length + cluster:
        raise InvalidError(f"image {path} has a table of references that is longer than the file: not opened")

"""Disks as people type them on the command line, and as they are shown.

``NAME[:MOUNT][:ro]`` is a partition of the site, ``[NAME=]SIZE[:MOUNT|:swap]`` a blank disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.cli.durations import megabytes
from flyinglow.client import Disk
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from flyinglow.client import LeasedDisk, Saved

_MIB = 1 << 20


def asked(given: dict[str, Any]) -> tuple[Disk, ...]:
    """Return the disks that the options of ``flyinglow create`` say; the image is the first. Raises InvalidError."""
    facts = {key: given[key] for key in ("sha256", "format", "kernel_from") if given[key] is not None}
    if facts and not given["image"]:
        raise InvalidError("--sha256, --format and --kernel-from go with an --image that is a URI")
    first = (Disk(image=given["image"], **facts),) if given["image"] else ()
    return (*first, *map(partition, given["partitions"]), *map(blank, given["blanks"]))


def partition(text: str) -> Disk:
    """Read ``NAME[:MOUNT][:ro]``. Raises InvalidError."""
    name, *rest = text.split(":")
    mount = next((word for word in rest if word.startswith("/")), None)
    if not name or len(rest) != len({"ro", mount} & set(rest)):
        raise InvalidError(f"--partition {text!r} is not NAME, NAME:/MOUNT, NAME:ro or NAME:/MOUNT:ro")
    return Disk(partition=name, mount=mount, read_only="ro" in rest)


def blank(text: str) -> Disk:
    """Read ``[NAME=]SIZE[:MOUNT|:swap]``. Raises InvalidError."""
    name, _, said = text.rpartition("=")
    size, _, where = said.partition(":")
    swap = where == "swap"
    if where and not swap and not where.startswith("/"):
        raise InvalidError(f"--blank {text!r} is not SIZE, SIZE:/MOUNT or SIZE:swap, perhaps with NAME= before it")
    try:
        return Disk(
            name=name or None,
            blank_mb=megabytes(size),
            mount=None if swap else where or None,
            file_system="swap" if swap else None,
        )
    except ValueError as error:
        raise InvalidError(f"--blank {text!r}: {error}") from None


def words(disk: LeasedDisk) -> str:
    """Return one disk in words."""
    what = disk.image or (f"partition {disk.partition}" if disk.partition else f"blank {disk.blank_mb} MB")
    more = [disk.file_system, disk.mount, "read-only" if disk.read_only else None]
    return " ".join([disk.name, what, *(word for word in more if word)])


def saved(found: Saved | None) -> str:
    """Return what was saved in words."""
    if found is None:
        return ""
    size = "" if found.bytes is None else f", {found.bytes / _MIB:.1f} MB"
    form = f" ({found.format}{size})" if found.format else ""
    return f"{found.disk or 'its disk'} to {found.target or 'a place that the node did not name'}{form}"

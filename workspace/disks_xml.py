"""The disks of a workspace, and what was saved of it, as elements of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.workspace.makers import FL, optional
from flyinglow.wsrf.xml import clean_text, parse_time, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxml.etree import _Element

    from flyinglow.workspace.model import Disk


def disks(given: Iterable[Disk]) -> _Element:
    """Return ``fl:Disks``: what each was asked for as, the first the one that is booted."""
    return FL.Disks(*(_disk(disk) for disk in given))


def saved(facts: Mapping[str, Any]) -> _Element:
    """Return ``fl:Saved``: where a copy of a disk lies, and its checksum."""
    size, at = facts.get("bytes"), facts.get("at")
    return FL.Saved(
        *optional("Disk", _text(facts, "disk")),
        *optional("Target", _text(facts, "target")),
        *optional("Format", _text(facts, "format")),
        *optional("SHA256", _text(facts, "sha256")),
        *optional("Bytes", str(size) if isinstance(size, int) and size >= 0 else None),
        *optional("Time", timestamp(parse_time(at)) if isinstance(at, str) else None),
    )


def _text(facts: Mapping[str, Any], key: str) -> str | None:
    """Return what a node told as far as it is a text."""
    value = facts.get(key)
    return value if isinstance(value, str) else None


def _disk(disk: Disk) -> _Element:
    blank = None if disk.blank_mb is None else str(disk.blank_mb)
    return FL.Disk(
        FL.Name(clean_text(disk.name)),
        *optional("Image", disk.image),
        *optional("Partition", disk.partition),
        *optional("BlankMB", blank),
        *optional("MountPoint", disk.mount),
        *optional("ReadOnly", "true" if disk.read_only else None),
        *optional("FileSystem", disk.file_system),
        *optional("SHA256", disk.sha256),
        *optional("Format", disk.format),
    )

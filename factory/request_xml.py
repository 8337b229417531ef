"""A Create message read into plain values.

The message has been judged by the schema already: what must be there is there, figures are figures, names are names.
What the schema cannot tell (durations out of reason, an ensemble that is none) raises the error that the caller sees.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from flyinglow.factory.model import CreateRequest, Part
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.model import Allocation, Context, Disk, EndAction, File, Hardware, InitialState, Kind, Nic
from flyinglow.wsrf.xml import NS, TRUE, parse_duration, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses

_FLF: Final = f"{{{NS['flf']}}}"


def read_create(body: _Element, addresses: Addresses) -> CreateRequest:
    """Read a validated ``flf:Create``. Raises InvalidError, or UnknownError for a foreign ensemble."""
    asked = _Children(body)
    lease = _Children(asked.one("Lease"))
    return CreateRequest(
        name=asked.needed("Name"),
        parts=tuple(_part(_Children(part)) for part in asked.all("Part")),
        duration=lease.seconds("Duration"),
        start_within=lease.seconds("StartWithin"),
        start_by=lease.time("StartBy"),
        initial_state=InitialState(lease.text("InitialState") or InitialState.RUNNING),
        end_action=EndAction((lease.text("EndAction") or EndAction.TRASH).lower()),
        save_uri=lease.text("SaveTo"),
        preemptable=lease.flag("Preemptable"),
        ready_within=lease.seconds("ReadyBarrier"),
        token=asked.text("Token"),
        join=_joined(asked.one("Ensemble"), addresses),
        open=asked.flag("Open"),
    )


class _Children:
    """The children of one element by local name, gathered in one pass; of no element there are none."""

    def __init__(self, element: _Element | None) -> None:
        self._found: dict[str, list[_Element]] = {}
        for child in () if element is None else element:
            self._found.setdefault(str(child.tag).removeprefix(_FLF), []).append(child)

    def all(self, name: str) -> Sequence[_Element]:
        """Return the children of this name in their order."""
        return self._found.get(name, ())

    def one(self, name: str) -> _Element | None:
        """Return the only child of this name, or None."""
        found = self._found.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """Return the child's text without the white space around it; None when there is no child."""
        found = self._found.get(name)
        return (found[0].text or "").strip() if found else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of all children of this name."""
        return tuple((child.text or "").strip() for child in self.all(name))

    def needed(self, name: str) -> str:
        """Return the text of a child that the schema demands."""
        return self.text(name) or ""

    def flag(self, name: str) -> bool:
        """Say whether the child is there and true."""
        return self.text(name) in TRUE

    def seconds(self, name: str) -> int | None:
        """Return a duration in seconds; raises InvalidError."""
        text = self.text(name)
        return None if text is None else int(parse_duration(text).seconds)

    def time(self, name: str) -> datetime | None:
        """Return a time; raises InvalidError."""
        text = self.text(name)
        return None if text is None else parse_time(text)

    def data(self, name: str) -> bytes:
        """Decode base64; the schema's checker lets some malformed text through. Raises InvalidError."""
        try:
            return base64.b64decode("".join(self.needed(name).split()), validate=True)
        except ValueError:  # binascii.Error among them; characters beyond ASCII are another one
            raise InvalidError(f"{name} is not base64") from None


def _part(part: _Children) -> Part:
    return Part(
        name=part.needed("Name"),
        count=int(part.text("Count") or 1),
        allocation=Allocation(
            memory_mb=int(part.needed("MemoryMB")),
            cpus=int(part.needed("CPUs")),
            disk_mb=int(part.text("DiskMB") or 0),
        ),
        disks=tuple(_disk(_Children(disk)) for disk in part.all("Disk")),
        nics=tuple(_nic(_Children(nic)) for nic in part.all("NIC")),
        context=_context(_Children(part.one("Context"))),
        hardware=_hardware(_Children(part.one("Hardware"))),
    )


def _disk(disk: _Children) -> Disk:
    blank, size = disk.text("BlankMB"), disk.text("SizeMB")
    return Disk(
        name=disk.text("Name") or "",
        image=disk.text("Image"),
        partition=disk.text("Partition"),
        blank_mb=None if blank is None else int(blank),
        mount=disk.text("MountPoint"),
        read_only=disk.flag("ReadOnly"),
        file_system=disk.text("FileSystem"),
        sha256=disk.text("SHA256"),
        format=disk.text("Format"),
        size_mb=None if size is None else int(size),
        kernel_from=disk.text("KernelFrom"),
    )


def _nic(nic: _Children) -> Nic:
    return Nic(network=nic.needed("Network"), name=nic.text("Name") or "")


def _context(context: _Children) -> Context:
    return Context(
        provides=context.texts("Provides"),
        requires=context.texts("Requires"),
        keys=context.texts("Key"),
        user_data=context.data("UserData"),
        files=tuple(_file(_Children(file)) for file in context.all("File")),
    )


def _file(file: _Children) -> File:
    return File(path=file.needed("Path"), content=file.data("Content"), mode=int(file.text("Mode") or "644", 8))


def _hardware(hardware: _Children) -> Hardware:
    numa = hardware.text("NUMANode")
    return Hardware(
        dedicated_cpus=hardware.flag("DedicatedCPUs"),
        numa_node=None if numa is None else int(numa),
        huge_pages=hardware.flag("HugePages"),
        devices=hardware.texts("Device"),
    )


def _joined(reference: _Element | None, addresses: Addresses) -> str | None:
    if reference is None:
        return None
    kind, resource = addresses.read(reference)
    if kind != Kind.ENSEMBLE:
        raise InvalidError(f"what is to be joined is a {kind}, not an ensemble")
    return resource

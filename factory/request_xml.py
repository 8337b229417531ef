"""A Create message read into plain values.

The message has been judged by the schema already: what must be there is there, figures are figures, names are names.
What the schema cannot tell (durations out of reason, an ensemble that is none) raises the error that the caller sees.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from flyinglow.factory.model import CreateRequest, Part
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.model import Allocation, Context, Disk, EndAction, File, InitialState, Kind, Nic
from flyinglow.wsrf.xml import NS, TRUE, parse_duration, parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses

_FLF: Final = f"{{{NS['flf']}}}"


def read_create(body: _Element, addresses: Addresses) -> CreateRequest:
    """Read a validated ``flf:Create``. Raises InvalidError, or UnknownError for a foreign ensemble."""
    lease = _child(body, "Lease")
    save_to = _text(lease, "SaveTo")
    return CreateRequest(
        name=_needed(body, "Name"),
        parts=tuple(_part(part) for part in body.iterfind(f"{_FLF}Part")),
        duration=_seconds(lease, "Duration"),
        start_within=_seconds(lease, "StartWithin"),
        start_by=_time(lease, "StartBy"),
        initial_state=InitialState(_text(lease, "InitialState") or InitialState.RUNNING),
        end_action=EndAction((_text(lease, "EndAction") or EndAction.TRASH).lower()),
        save_uri=save_to,
        token=_text(body, "Token"),
        join=_joined(body, addresses),
        open=_flag(body, "Open"),
    )


def _part(element: _Element) -> Part:
    context = _child(element, "Context")
    return Part(
        name=_needed(element, "Name"),
        count=int(_text(element, "Count") or 1),
        allocation=Allocation(
            memory_mb=int(_needed(element, "MemoryMB")),
            cpus=int(_needed(element, "CPUs")),
            disk_mb=int(_text(element, "DiskMB") or 0),
        ),
        disks=tuple(_disk(disk) for disk in element.iterfind(f"{_FLF}Disk")),
        nics=tuple(
            Nic(network=_needed(nic, "Network"), name=_text(nic, "Name") or "")
            for nic in element.iterfind(f"{_FLF}NIC")
        ),
        context=Context() if context is None else _context(context),
    )


def _disk(element: _Element) -> Disk:
    blank = _text(element, "BlankMB")
    return Disk(
        name=_text(element, "Name") or "",
        image=_text(element, "Image"),
        partition=_text(element, "Partition"),
        blank_mb=None if blank is None else int(blank),
        mount=_text(element, "MountPoint"),
        read_only=_flag(element, "ReadOnly"),
    )


def _context(element: _Element) -> Context:
    return Context(
        provides=_texts(element, "Provides"),
        requires=_texts(element, "Requires"),
        keys=_texts(element, "Key"),
        user_data=_bytes(element, "UserData"),
        files=tuple(
            File(
                path=_needed(file, "Path"),
                content=_bytes(file, "Content"),
                mode=int(_text(file, "Mode") or "644", 8),
            )
            for file in element.iterfind(f"{_FLF}File")
        ),
    )


def _joined(body: _Element, addresses: Addresses) -> str | None:
    reference = _child(body, "Ensemble")
    if reference is None:
        return None
    kind, resource = addresses.read(reference)
    if kind != Kind.ENSEMBLE:
        raise InvalidError(f"what is to be joined is a {kind}, not an ensemble")
    return resource


def _child(element: _Element | None, name: str) -> _Element | None:
    return None if element is None else element.find(f"{_FLF}{name}")


def _text(element: _Element | None, name: str) -> str | None:
    """Return the child's text without the white space around it; None when there is no child."""
    found = _child(element, name)
    return None if found is None else (found.text or "").strip()


def _texts(element: _Element, name: str) -> tuple[str, ...]:
    return tuple((found.text or "").strip() for found in element.iterfind(f"{_FLF}{name}"))


def _needed(element: _Element, name: str) -> str:
    return _text(element, name) or ""


def _flag(element: _Element, name: str) -> bool:
    return _text(element, name) in TRUE


def _bytes(element: _Element, name: str) -> bytes:
    """Decode base64; the schema's checker lets some malformed text through."""
    text = "".join(_needed(element, name).split())
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidError(f"{name} is not base64") from None


def _seconds(lease: _Element | None, name: str) -> int | None:
    text = _text(lease, name)
    return None if text is None else int(parse_duration(text).seconds)


def _time(lease: _Element | None, name: str) -> datetime | None:
    text = _text(lease, name)
    return None if text is None else parse_time(text)

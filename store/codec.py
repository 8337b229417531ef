"""Turn the values inside a row (disks, NICs, context, stamps, keys, components) into JSON text and back.

Every function pair is each other's inverse. What equals its default is left out, so rows stay short.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from flyinglow.backend.lrm.model import Component
from flyinglow.store.tables import EPOCH, TICK
from flyinglow.workspace.model import Context, Disk, File, Hardware, Kind, Nic, ResourceKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T", Disk, Nic)

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_DISK_DEFAULTS = {field.name: field.default for field in fields(Disk)}
_NIC_DEFAULTS = {field.name: field.default for field in fields(Nic)}


def dump(value: Any) -> str:
    """Write plain JSON, compactly."""
    return "{}" if value == {} else _compact(value)


def load(text: str) -> Any:
    """Read plain JSON."""
    return {} if text == "{}" else json.loads(text)


def dump_foreign(value: Mapping[str, Any]) -> str:
    """Write plain JSON from outside, in ASCII: it may hold half a surrogate pair, which no database takes."""
    return json.dumps(dict(value), separators=(",", ":"))


def dump_components(components: Sequence[Component]) -> str:
    """Write the components of a pilot job."""
    return _compact([[part.nodes, part.memory_mb, part.cpus] for part in components])


def load_components(text: str) -> tuple[Component, ...]:
    """Read the components of a pilot job."""
    return tuple(Component(nodes=nodes, memory_mb=mb, cpus=cpus) for nodes, mb, cpus in json.loads(text))


def dump_strings(values: Sequence[str]) -> str:
    """Write strings; none at all is the empty text."""
    return _compact(list(values)) if values else ""


def load_strings(text: str) -> tuple[str, ...]:
    """Read strings."""
    return tuple(json.loads(text)) if text else ()


def dump_disks(disks: Sequence[Disk]) -> str:
    """Write disks."""
    return _dump_parts(disks, _DISK_DEFAULTS)


def load_disks(text: str) -> tuple[Disk, ...]:
    """Read disks."""
    return tuple(Disk(**disk) for disk in json.loads(text)) if text else ()


def dump_nics(nics: Sequence[Nic]) -> str:
    """Write NICs with their addresses."""
    return _dump_parts(nics, _NIC_DEFAULTS)


def load_nics(text: str) -> tuple[Nic, ...]:
    """Read NICs with their addresses."""
    if not text:
        return ()
    nics = json.loads(text)
    for nic in nics:
        for name in ("dns", "dns6"):
            if name in nic:
                nic[name] = tuple(nic[name])
        if "dropped" in nic:
            nic["dropped"] = tuple((kind, count) for kind, count in nic["dropped"])
    return tuple(Nic(**nic) for nic in nics)


def _dump_parts(parts: Sequence[T], defaults: Mapping[str, Any]) -> str:
    plain = [
        {name: value for name, default in defaults.items() if (value := getattr(part, name)) != default}
        for part in parts
    ]
    return _compact(plain) if plain else ""


def dump_hardware(hardware: Hardware) -> str:
    """Write what is asked for of a node's hardware."""
    plain = {
        field.name: value for field in fields(Hardware) if (value := getattr(hardware, field.name)) != field.default
    }
    return _compact(plain) if plain else ""


def load_hardware(text: str) -> Hardware:
    """Read what is asked for of a node's hardware."""
    plain = json.loads(text) if text else {}
    return Hardware(**{**plain, "devices": tuple(plain.get("devices", ()))})


def dump_context(context: Context) -> str:
    """Write a context; bytes are base64."""
    plain: dict[str, Any] = {
        name: values for name in ("provides", "requires", "keys") if (values := list(getattr(context, name)))
    }
    if context.user_data:
        plain["user_data"] = b64encode(context.user_data).decode()
    if context.files:
        plain["files"] = [[file.path, b64encode(file.content).decode(), file.mode] for file in context.files]
    return _compact(plain) if plain else ""


def load_context(text: str) -> Context:
    """Read a context."""
    if not text:
        return Context()
    plain = json.loads(text)
    return Context(
        provides=tuple(plain.get("provides", ())),
        requires=tuple(plain.get("requires", ())),
        keys=tuple(plain.get("keys", ())),
        user_data=b64decode(plain.get("user_data", "")),
        files=tuple(
            File(path=path, content=b64decode(content), mode=mode) for path, content, mode in plain.get("files", ())
        ),
    )


def dump_stamps(stamps: Mapping[str, datetime]) -> str:
    """Write named times as microseconds."""
    return dump({str(name): (at - EPOCH) // TICK for name, at in stamps.items()})


def load_stamps(text: str) -> dict[str, datetime]:
    """Read named times."""
    return {name: EPOCH + timedelta(microseconds=at) for name, at in load(text).items()}


def dump_resources(resources: Sequence[tuple[str, ResourceKey]]) -> str:
    """Write what a lease handed out."""
    return _compact([[name, key.kind.value, key.id] for name, key in resources])


def load_resources(text: str) -> tuple[tuple[str, ResourceKey], ...]:
    """Read what a lease handed out."""
    return tuple((name, ResourceKey(Kind(kind), id_)) for name, kind, id_ in json.loads(text))

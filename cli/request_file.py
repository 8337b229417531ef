"""A request as a file, TOML or JSON: what ``flyinglow create --file`` reads.

The keys are those of the client library's Part, Disk, Nic and File, and of a request: name, duration, start_within,
initial_state, end_action, save_to, preemptable, ready_barrier, parts. An unknown key is refused by its place, a missing
one as well.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flyinglow.cli.durations import megabytes, seconds
from flyinglow.client import Disk, File, Nic, Part
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Made = TypeVar("Made", Part, Disk, Nic, File)

_REQUEST: Final = frozenset(
    {
        "name",
        "duration",
        "start_within",
        "initial_state",
        "end_action",
        "save_to",
        "preemptable",
        "ready_barrier",
        "parts",
    }
)
_SPANS: Final = ("duration", "start_within", "ready_barrier")


def read(path: Path) -> dict[str, Any]:
    """Return the arguments of ``Site.create`` that a file says. Raises InvalidError naming the place."""
    try:
        text = path.read_text()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError) as error:
        raise InvalidError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise InvalidError(f"{path}: a table with the keys of a request is expected")
    _known(found, _REQUEST, str(path))
    made = dict(found)
    for key in _SPANS:
        if key in made:
            made[key] = _number(made[key], seconds, f"{path}: {key}")
    if not isinstance(made.get("preemptable", False), bool):
        raise InvalidError(f"{path}: preemptable must be true or false")
    made["parts"] = [_part(part, f"{path}: parts[{n}]") for n, part in enumerate(_tables(found, "parts", str(path)))]
    return made


def _part(table: Mapping[str, Any], place: str) -> Part:
    made = dict(table)
    made["disks"] = tuple(_disk(each, f"{place}.disks") for each in _tables(table, "disks", place))
    made["nics"] = tuple(_make(Nic, each, f"{place}.nics") for each in _tables(table, "nics", place))
    made["files"] = tuple(_file(each, f"{place}.files") for each in _tables(table, "files", place))
    for key in ("provides", "requires", "keys", "devices"):
        made[key] = tuple(_texts(table.get(key, []), f"{place}.{key}"))
    for key in ("memory_mb", "disk_mb"):
        if key in made:
            made[key] = _number(made[key], megabytes, f"{place}.{key}")
    if "user_data" in made:
        made["user_data"] = _text(made["user_data"], f"{place}.user_data").encode()
    return _make(Part, made, place)


def _disk(table: Mapping[str, Any], place: str) -> Disk:
    made = dict(table)
    for key in ("blank_mb", "size_mb"):
        if key in made:
            made[key] = _number(made[key], megabytes, f"{place}.{key}")
    return _make(Disk, made, place)


def _file(table: Mapping[str, Any], place: str) -> File:
    made = dict(table)
    if "content" in made:
        made["content"] = _text(made["content"], f"{place}.content").encode()
    return _make(File, made, place)


def _make(cls: type[Made], table: Mapping[str, Any], place: str) -> Made:
    _known(table, frozenset(each.name for each in dataclasses.fields(cls)), place)
    try:
        return cls(**table)
    except TypeError as error:
        raise InvalidError(f"{place}: {str(error).partition(' ')[2]}") from None


def _known(table: Mapping[str, Any], keys: frozenset[str], place: str) -> None:
    if unknown := sorted(set(table) - keys):
        raise InvalidError(f"{place}: there is no key {unknown[0]!r}; there are {', '.join(sorted(keys))}")


def _tables(table: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InvalidError(f"{place}: {key} must be a list of tables")
    return found


def _texts(found: Any, place: str) -> list[str]:
    if not isinstance(found, list):
        raise InvalidError(f"{place} must be a list of texts")
    return [_text(each, place) for each in found]


def _text(found: Any, place: str) -> str:
    if not isinstance(found, str):
        raise InvalidError(f"{place} must be a text, not {found!r}")
    return found


def _number(found: Any, read_text: Callable[[str], int], place: str) -> int:
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    try:
        return read_text(_text(found, place))
    except ValueError as error:
        raise InvalidError(f"{place}: {error}") from None

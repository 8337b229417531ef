"""Which versions of the messages a side speaks, and the one that two sides use: the highest that both do.

A program says its range once, with its first message (``speaks``); one that says none speaks the version that its
message is written in, and no other. What asks for nothing may be unknown to the other side: a field that is empty is
passed over, one that holds something is refused by its name, for it would not be done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOTHING: tuple[Any, ...] = (None, False, "", [], {}, ())


@dataclass(frozen=True, order=True)
class Spoken:
    """A range of versions, both ends of it included."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        one = f"version {self.oldest}"
        return one if self.oldest == self.newest else f"versions {self.oldest} to {self.newest}"

    def __contains__(self, version: object) -> bool:
        return is_version(version) and self.oldest <= version <= self.newest  # type: ignore[operator]

    def common(self, other: Spoken) -> int | None:
        """Return the highest version that both speak; None when there is none."""
        newest = min(self.newest, other.newest)
        return newest if newest >= max(self.oldest, other.oldest) else None


def is_version(value: object) -> bool:
    """Tell whether a value can be a version."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def range_of(body: object, version: object) -> Spoken | None:
    """Return the range that a first message tells of its sender; None when it tells of no version at all."""
    told = body.get("speaks") if isinstance(body, Mapping) else None
    if isinstance(told, (list, tuple)) and list(map(is_version, told)) == [True, True] and told[0] <= told[1]:
        return Spoken(*told)
    return Spoken(version, version) if isinstance(version, int) and is_version(version) else None


def told(spoken: Spoken) -> list[int]:
    """Return a range as ``range_of`` reads it."""
    return [spoken.oldest, spoken.newest]


def disagreement(ours: Spoken, theirs: Spoken | None, we: str, they: str) -> str:
    """Return the sentence for two sides without a common version: both ranges, and which of them is to be upgraded."""
    if theirs is None:
        return f"{they} names no version, {we} speaks {ours}"
    older = they if theirs.newest < ours.oldest else we
    return f"{they} speaks {theirs}, {we} {ours}: upgrade {older}"


def understood(cls: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataclass has a field for, of what somebody asks for.

    Raises TypeError naming a field that is unknown and asks for something.
    """
    known = {each.name for each in dataclasses.fields(cls)}
    unknown = sorted(name for name, value in body.items() if name not in known and not _is_nothing(value))
    if unknown:
        raise TypeError(f"the field {unknown[0]!r} is unknown to this version, and something is asked for by it")
    return {name: value for name, value in body.items() if name in known}


def heard(cls: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataclass has a field for, of what somebody tells; more than that is passed over."""
    known = {each.name for each in dataclasses.fields(cls)}
    return {name: value for name, value in body.items() if name in known}


def _is_nothing(value: object) -> bool:
    return any(value is nothing or (type(value) is type(nothing) and value == nothing) for nothing in NOTHING)

"""Reads a plain mapping (a configuration table, a node's reach) into a frozen dataclass; refuses what is unknown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def read(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Build ``cls`` from ``mapping``. Raises InvalidError for an unknown key, a missing one, or one of a wrong type.

    ``where`` names the mapping in messages. Lists become tuples; a whole number will do where a float is asked for.
    """
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        raise InvalidError(f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    for name, entry in fields.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            raise InvalidError(f"{where} lacks the key {name!r}")
    hints = get_type_hints(cls)
    return cls(**{name: _value(value, hints[name], f"{name!r} of {where}") for name, value in mapping.items()})


def _value(value: Any, hint: Any, what: str) -> Any:
    allowed = getattr(hint, "__args__", None) if not hasattr(hint, "__origin__") else None
    kinds = allowed or (hint,)
    for kind in kinds:
        plain = getattr(kind, "__origin__", kind)
        if plain is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if plain is tuple and isinstance(value, list):
            return tuple(value)
        if isinstance(plain, type) and isinstance(value, plain) and (plain is bool or not isinstance(value, bool)):
            return value
    words = " or ".join(str(getattr(kind, "__name__", kind)) for kind in kinds)
    raise InvalidError(f"{what} must be {words}, not {value!r}")

"""Reads a plain mapping (a configuration table, a node's reach) into a frozen dataclass; refuses what is unknown."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
Fault = tuple[tuple[str, ...], str]
"""A key's way from the table down, and what is wrong there."""


class OptionError(InvalidError):
    """What is said by one key of a table makes no sense; ``path`` is the key's way from the table down."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = path


def read(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Build ``cls`` from ``mapping``. Raises OptionError for an unknown key, a missing one, or one of a wrong type.

    ``where`` names the mapping in messages. Lists become tuples; a whole number will do where a float is asked for.
    """
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for error in _errors(cls, mapping, where):
        raise error
    hints = get_type_hints(cls)
    return cls(**{name: _value(value, hints[name], "") for name, value in mapping.items() if name in fields})


def wrong_types(cls: type[Any], mapping: Mapping[str, Any], where: str) -> list[Fault]:
    """Return everything that ``read`` would not take."""
    return [(error.path, error.message) for error in _errors(cls, mapping, where)]


def refused(make: Callable[[], object], *path: str) -> list[Fault]:
    """Return why ``make`` raises InvalidError, at the key that it names below ``path``, or at ``path``."""
    try:
        make()
    except OptionError as error:
        return [((*path, *error.path), error.message)]
    except InvalidError as error:
        return [(path, error.message)]
    return []


def out_of_range(made: object, least: float, *names: str) -> Iterator[Fault]:
    """Return which of these numbers is less than ``least`` or not finite; None passes."""
    for name in names:
        value = getattr(made, name)
        if value is not None and not least <= value < math.inf:
            yield (name,), f"{name!r} must be at least {least:g}, not {value:g}"


def _errors(cls: type[Any], mapping: Mapping[str, Any], where: str) -> Iterator[OptionError]:
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}
    for name in sorted(set(mapping) - set(fields)):
        yield OptionError(f"{where} has the unknown key {name!r}; known are {', '.join(sorted(fields))}", name)
    for name, entry in fields.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            yield OptionError(f"{where} lacks the key {name!r}", name)
    hints = get_type_hints(cls)
    for name in [name for name in fields if name in mapping]:
        try:
            _value(mapping[name], hints[name], f"{name!r} of {where}")
        except InvalidError as error:
            yield OptionError(error.message, name)


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

"""Finds a back-end by its name in the entry-point group ``flyinglow.backends``, where third parties add theirs."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.errors import BrokenError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flyinglow.backend.api import Backend, Settings
    from flyinglow.backend.options import Fault

GROUP = "flyinglow.backends"
CHECK = "check"
"""The name of the function, beside the factory in its module, that says what is wrong with a table of options."""


def names() -> list[str]:
    """Return the names of all back-ends that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> Callable[[Settings], Backend]:
    """Return the factory of the back-end ``name``.

    Raises InvalidError when none of this name is installed, BrokenError when it cannot be imported.
    """
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise InvalidError(f"there is no back-end {name!r}; installed are: {', '.join(names()) or 'none'}")
    try:
        factory = found[0].load()
    except Exception as error:
        raise BrokenError(f"the back-end {name!r} ({found[0].value}) cannot be loaded: {error}") from error
    if not callable(factory):
        raise BrokenError(f"the back-end {name!r} ({found[0].value}) is not a factory")
    create: Callable[[Settings], Backend] = factory
    return create


def check(name: str, options: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with the options of the back-end ``name``, each fault with its key's way from the table.

    A back-end whose module has no ``check(options)`` beside its factory is asked when it is made. Raises as ``load``.
    """
    looks: Callable[[Mapping[str, Any]], Iterable[Fault]] | None
    looks = getattr(sys.modules.get(getattr(load(name), "__module__", "")), CHECK, None)
    return list(looks(options)) if looks is not None else []

"""The element makers that the services' messages and properties are written with, with types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from flyinglow.wsrf.xml import E, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lxml.etree import _Element


class Maker(Protocol):
    """Makes elements of one name space: ``FL.State("Running")`` or ``FL("State", "Running")``."""

    def __call__(self, name: str, *content: _Element | str | Mapping[str, str], **attributes: str) -> _Element:
        """Return a new element with this local name."""

    def __getattr__(self, name: str) -> Callable[..., _Element]:
        """Return the maker of elements with this local name."""


MAKERS: Final[Mapping[str, Maker]] = E
"""By prefix."""

FL: Final = MAKERS["fl"]
BF: Final = MAKERS["bf"]
RL: Final = MAKERS["rl"]
WSNT: Final = MAKERS["wsnt"]


def optional(name: str, text: str | None) -> list[_Element]:
    """Return the ``fl`` element with this text, or none when there is no text."""
    return [FL(name, clean_text(text))] if text else []

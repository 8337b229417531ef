"""How long a subscription lives: what was asked for, and what is granted (never silently shorter)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.times import parse_duration, parse_time
from flyinglow.wsrf.xml import is_nil

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Asked:
    """The end that a subscriber asks for: a dateTime or duration as text, nil for "no end", absent for "you choose"."""

    text: str | None = None
    nil: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """What is granted, in seconds. ``unlimited``: a subscription may live as long as its producer (nil)."""

    default: int = 24 * 3600
    shortest: int = 1
    longest: int = 31 * 24 * 3600
    unlimited: bool = True


class UnacceptableError(InvalidError):
    """The end asked for is not granted; one between ``minimum`` and ``maximum`` would be."""

    def __init__(self, message: str, minimum: datetime, maximum: datetime) -> None:
        super().__init__(message)
        self.minimum = minimum
        self.maximum = maximum


def asked(element: _Element | None) -> Asked:
    """Read a (Initial)TerminationTime element; None when it is absent."""
    if element is None:
        return Asked()
    if is_nil(element):
        return Asked(nil=True)
    return Asked(text=(element.text or "").strip())


def grant(wish: Asked, now: datetime, limits: Lifetimes) -> datetime | None:
    """Return the end granted; None for no end. Raises UnacceptableError."""
    minimum = now + timedelta(seconds=limits.shortest)
    maximum = now + timedelta(seconds=limits.longest)
    if wish.nil:
        if limits.unlimited:
            return None
        raise UnacceptableError("a subscription without an end is not granted", minimum, maximum)
    if wish.text is None:
        return now + timedelta(seconds=limits.default)
    try:
        end = _end(wish.text, now)
    except InvalidError as error:
        raise UnacceptableError(error.message, minimum, maximum) from error
    if end < minimum:
        raise UnacceptableError(f"the end {wish.text!r} is not in the future", minimum, maximum)
    if end > maximum:
        raise UnacceptableError(f"the end {wish.text!r} is later than is granted", minimum, maximum)
    return end


def _end(text: str, now: datetime) -> datetime:
    if text.startswith(("P", "-P")):
        return parse_duration(text).after(now)
    return parse_time(text)

"""Durations and sizes as people type them: ``90``, ``15m``, ``1h30m``, ``2d``; ``96``, ``512M``, ``2G``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from flyinglow.nodectl import durations

if TYPE_CHECKING:
    from datetime import timedelta

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*(M|MB|MiB|G|GB|GiB)?", re.ASCII | re.IGNORECASE)
_MB_IN_GB: Final = 1024


def seconds(text: str) -> int:
    """Return the seconds that a duration says. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        message = f"{text!r} is not a duration such as 90, 15m, 1h30m or 2d"
        raise ValueError(message)
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return days * durations.DAY + hours * durations.HOUR + minutes * durations.MINUTE + rest


def megabytes(text: str) -> int:
    """Return the MB (of 2**20 bytes) that a size says. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        message = f"{text!r} is not a size such as 96, 512M or 2G"
        raise ValueError(message)
    unit = (found[2] or "M").upper()
    return int(found[1]) * (_MB_IN_GB if unit.startswith("G") else 1)


def words(span: timedelta | float) -> str:
    """Return a duration as it would be typed."""
    return durations.words(span if isinstance(span, int | float) else span.total_seconds())


class Duration(click.ParamType[int]):
    """A duration on the command line, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            return seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """A size on the command line, in MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            return megabytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)

"""Times and durations as XML Schema writes them: aware UTC inside, ``Z`` outside, bounded on the way in."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from flyinglow.nodectl.errors import InvalidError

LONGEST_YEARS: Final = 100
"""A longer duration is a mistake or an attack, never a lease."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,40}))?(?:(Z)|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)
_DURATION = re.compile(
    r"P(?=[\dT])(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})D)?"
    r"(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,12})M)?(?:(\d{1,12})(\.\d{1,9})?S)?)?",
    re.ASCII,
)
_HOUR, _DAY = 3600, 86400


def timestamp(at: datetime, *, milliseconds: bool = False) -> str:
    """Return an aware time as xs:dateTime in UTC, with whole seconds or with milliseconds (both cut, not rounded)."""
    utc = at.astimezone(UTC)
    text = f"{utc.year:04d}-{utc.month:02d}-{utc.day:02d}T{utc.hour:02d}:{utc.minute:02d}:{utc.second:02d}"
    return f"{text}.{utc.microsecond // 1000:03d}Z" if milliseconds else f"{text}Z"


def parse_time(text: str) -> datetime:
    """Read an xs:dateTime as aware UTC; one without a zone is taken as UTC. Raises InvalidError.

    Years beyond 9999 or before 1 are refused; digits after the microsecond are cut.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise InvalidError(f"{text[:80]!r} is not a time (xs:dateTime, years 0001 to 9999)")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, _, sign, zone_hours, zone_minutes = found.groups()[6:]
    micro = int((fraction or "")[:6].ljust(6, "0"))
    try:
        midnight_after = hour == 24 and minute == second == micro == 0  # noqa: PLR2004
        local = datetime(year, month, day, 0 if midnight_after else hour, minute, second, micro, UTC)
        offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
        if offset > timedelta(hours=14):
            raise ValueError
        return local + timedelta(days=midnight_after) - (-offset if sign == "-" else offset)
    except (ValueError, OverflowError):
        raise InvalidError(f"{text[:80]!r} is not a time that exists") from None


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time as xs:duration has it: months and seconds cannot be turned into each other without a start."""

    months: int
    seconds: float

    def after(self, start: datetime) -> datetime:
        """Return ``start`` moved by this duration: months by the calendar first (Jan 31 + P1M = Feb 28), then seconds.

        Raises InvalidError when that is beyond the year 9999.
        """
        try:
            year, month = divmod(start.year * 12 + start.month - 1 + self.months, 12)
            day = min(start.day, monthrange(year, month + 1)[1])
            return start.replace(year=year, month=month + 1, day=day) + timedelta(seconds=self.seconds)
        except (ValueError, OverflowError):
            raise InvalidError("the duration leads beyond the calendar") from None

    def seconds_from(self, start: datetime) -> int:
        """Return the whole seconds that this duration has when it begins at ``start``."""
        return int((self.after(start) - start).total_seconds())


def parse_duration(text: str) -> Duration:
    """Read an xs:duration. Raises InvalidError: malformed, negative, or longer than LONGEST_YEARS."""
    value = text.strip()
    if value.startswith("-"):
        raise InvalidError(f"the duration {text[:80]!r} is negative")
    found = _DURATION.fullmatch(value)
    if found is None:
        raise InvalidError(f"{text[:80]!r} is not a duration of reasonable length (xs:duration, for example PT1H30M)")
    years, months, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:6])
    duration = Duration(
        months=years * 12 + months,
        seconds=days * _DAY + hours * _HOUR + minutes * 60 + seconds + float(found[7] or 0),
    )
    if duration.months / 12 + duration.seconds / _DAY / 365 > LONGEST_YEARS:
        raise InvalidError(f"the duration {text[:80]!r} is longer than {LONGEST_YEARS} years")
    return duration


def duration_text(seconds: int) -> str:
    """Return whole seconds as xs:duration in days, hours, minutes and seconds. Raises InvalidError when negative."""
    if seconds < 0:
        raise InvalidError(f"a duration of {seconds} seconds is negative")
    days, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, 60)
    date = f"{days}D" if days else ""
    time = "".join(f"{figure}{unit}" for figure, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if figure)
    if not date and not time:
        return "PT0S"
    return f"P{date}T{time}" if time else f"P{date}"

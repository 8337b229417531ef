"""Durations as people say and type them: ``90s``, ``15m``, ``1h30m``, ``2d``."""

from __future__ import annotations

DAY, HOUR, MINUTE = 86400, 3600, 60  # seconds


def words(seconds: float) -> str:
    """Return a duration as it would be typed; what is less than a second of it is left out."""
    left = int(seconds)
    parts = []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join([*parts, f"{left}s"] if left or not parts else parts)

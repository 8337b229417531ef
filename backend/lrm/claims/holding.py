"""Claims that hold some of their nodes while others wait for theirs: who gives way. Pure.

The oldest never gives way, so one of them always gets on; every younger one that holds nodes without having them all
gives them back once it has held them for the limit, and queues again with a wait that doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FIRST, _MOST = 30.0, 600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A claim that waits. ``age`` and ``held`` are seconds: since it asked, and since it has held its first node."""

    claim: str
    age: float
    ready: int
    missing: int
    held: float


def giving_way(waiting: Sequence[Holding], limit: float) -> list[str]:
    """Return the claims that are to give back what they hold, the youngest first."""
    incomplete = sorted((one for one in waiting if one.missing), key=lambda one: (one.age, one.claim))
    return [one.claim for one in incomplete[:-1] if one.ready and one.held >= limit]


def back_off(times: int) -> float:
    """Return the wait before a claim queues again that gave way so many times."""
    return float(min(_MOST, _FIRST * 2.0 ** min(max(times - 1, 0), 10)))

"""What is measured, as plain values: percentiles, targets, and the rows of the table. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    """Return the middle value, the lower one of two."""
    return percentile(values, 0.5)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure has to keep."""

    bound: float
    least: bool  # at least, or at most

    def met(self, value: float) -> bool:
        """Say whether ``value`` keeps the bound."""
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {number(self.bound)}"


def at_least(bound: float) -> Target:
    return Target(bound, least=True)


def at_most(bound: float) -> Target:
    return Target(bound, least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. ``p50`` and ``p99`` are milliseconds of a single operation; ``beside`` is the floor or the pair."""

    part: str
    name: str
    value: float
    unit: str
    p50: float | None = None
    p99: float | None = None
    target: Target | None = None
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Return ``met``, ``not met``, or nothing where no target is set."""
        if self.target is None:
            return ""
        return "met" if self.target.met(self.value) else "not met"


def number(value: float) -> str:
    """Write a figure with as many digits as it is worth."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def out_of_order(seen: Sequence[tuple[str, int]]) -> int:
    """Count the messages whose sequence is not greater than that of the one before in the same line.

    ``seen`` are (line, sequence) in the order of arrival. A message that arrives again is out of order, too.
    """
    last: dict[str, int] = {}
    wrong = 0
    for line, sequence in seen:
        wrong += sequence <= last.get(line, 0)
        last[line] = sequence
    return wrong


def growth(seconds: dict[int, float]) -> float:
    """Return how much faster than its size the time grows, from the smallest size with two or more to the largest.

    1 is linear growth, less is better than linear.
    """
    sizes = sorted(size for size in seconds if size > 1)
    first, last = sizes[0], sizes[-1]
    return (seconds[last] / seconds[first]) / (last / first)

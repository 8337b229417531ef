"""Cut long lists of ids, since a database takes only so many parameters in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

SIZE = 1000


def batches(values: Sequence[T]) -> Iterator[list[T]]:
    """Yield the values in lists of at most SIZE."""
    for start in range(0, len(values), SIZE):
        yield list(values[start : start + SIZE])

"""How often one guest may speak: a bucket of messages for each name, filled again with time.

Only so many buckets are kept; whoever was silent for longest is forgotten first, which gives nobody more than a bucket.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 8192


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """``burst`` messages at once, then one every ``seconds``. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float], *, burst: int, seconds: float) -> None:
        self._clock, self._burst, self._seconds = clock, burst, seconds
        self._kept: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> bool:
        """Say whether this one may speak now, and count it if so."""
        bucket = self._filled(name)
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True

    def empty(self, name: str) -> bool:
        """Say whether it may not speak now; counts nothing."""
        return name in self._kept and self._filled(name).left < 1

    def _filled(self, name: str) -> _Bucket:
        now = self._clock()
        bucket = self._kept.setdefault(name, _Bucket(self._burst, now))
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) / self._seconds)
        bucket.at = now
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return bucket

"""Token buckets: how many requests somebody may send, by any key; of bounded size, whoever makes up keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_second`` in the long run, ``burst`` at once; a rate of 0 is no limit."""

    per_second: float
    burst: float


class Buckets:
    """One bucket a key. ``clock`` gives monotonic seconds; not for several threads.

    A bucket that was not used for longest is forgotten when there are too many: it is full again then, which never
    refuses anybody more than he would have been.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float], keys: int = KEYS) -> None:
        self._rate = rate
        self._clock = clock
        self._keys = keys
        self._full: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def take(self, key: str) -> float:
        """Take a token and return 0.0, or take none and return the seconds after which there is one."""
        wait = self.wait(key)
        if wait == 0.0 and self._rate.per_second > 0:
            tokens, at = self._full[key]
            self._full[key] = (tokens - 1.0, at)
        return wait

    def wait(self, key: str) -> float:
        """Return the seconds after which ``key`` has a token, 0.0 when it has one now; takes none."""
        if self._rate.per_second <= 0:
            return 0.0
        now = self._clock()
        tokens, at = self._full.pop(key, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - at) * self._rate.per_second)
        self._full[key] = (tokens, now)
        if len(self._full) > self._keys:
            self._full.popitem(last=False)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate.per_second

"""Token buckets: how many requests somebody may send, by any key; of bounded size, whoever makes up keys."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

KEYS = 10_000
_ONE_HOST = 64  # bits of an IPv6 address that one host cannot choose by itself: RFC 4291, section 2.5.1


def neighbourhood(address: str) -> str:
    """Return what is counted as one for an address: of IPv6 its /64, for a host has all of that to choose from.

    An IPv4 address that came by way of IPv6 (``::ffff:192.0.2.1``) is counted as itself; what is no address, too.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found.packed, _ONE_HOST), strict=False))


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_second`` in the long run, ``burst`` at once; a rate of 0 is no limit."""

    per_second: float
    burst: float


class Buckets:
    """One bucket a key. ``clock`` gives monotonic seconds. Safe to use from several threads.

    A bucket that was not used for longest is forgotten when there are too many: it is full again then, which never
    refuses anybody more than he would have been.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float], keys: int = KEYS) -> None:
        self._rate = rate
        self._clock = clock
        self._keys = keys
        self._full: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take a token and return 0.0, or take none and return the seconds after which there is one."""
        return self._look(key, 1.0)

    def wait(self, key: str) -> float:
        """Return the seconds after which ``key`` has a token, 0.0 when it has one now; takes none."""
        return self._look(key, 0.0)

    def _look(self, key: str, cost: float) -> float:
        if self._rate.per_second <= 0:
            return 0.0
        now = self._clock()
        with self._lock:
            tokens, at = self._full.pop(key, (self._rate.burst, now))
            tokens = min(self._rate.burst, tokens + (now - at) * self._rate.per_second)
            self._full[key] = (tokens - cost if tokens >= 1.0 else tokens, now)
            if len(self._full) > self._keys:
                self._full.popitem(last=False)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate.per_second

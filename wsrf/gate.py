"""How much of the service one caller gets: requests a second, and requests that wait at a time.

Callers who are known are counted by their identity. An address is counted for requests that show no good credential
only, so that who shares an address with an attacker is not shut out with him once he is known.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flyinglow.access.rates import Buckets, Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from flyinglow.access.identity import Identity

NO_LIMIT = Rate(0.0, 1.0)


class Gate:
    """Belongs to the reactor's thread. ``clock`` gives monotonic seconds.

    ``local`` says whether the one caller of a listener that knows nobody is limited, too; ``waiting`` is how many
    requests of one identity may be under way at a time.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        identity: Rate = NO_LIMIT,
        address: Rate = NO_LIMIT,
        local: bool = False,
        waiting: int = 1 << 30,
    ) -> None:
        self._identities = Buckets(identity, clock)
        self._addresses = Buckets(address, clock)
        self._local = local
        self._waiting = waiting
        self._under_way: Counter[str] = Counter()

    def stranger(self, address: str) -> float:
        """Return the seconds for which nothing is taken from an address without a good credential; 0.0: none."""
        return self._addresses.wait(address)

    def refused(self, address: str) -> None:
        """Count a request without a good credential."""
        self._addresses.take(address)

    def caller(self, caller: Identity) -> float:
        """Count a request, and return 0.0; or return the seconds after which one is taken again."""
        return self._identities.take(caller.name) if self._counts(caller) else 0.0

    def enter(self, caller: Identity) -> bool:
        """Count a request that is under way; say whether there was room for it."""
        if not self._counts(caller):
            return True
        if self._under_way[caller.name] >= self._waiting:
            return False
        self._under_way[caller.name] += 1
        return True

    def leave(self, caller: Identity) -> None:
        """Count it out."""
        if not self._counts(caller):
            return
        self._under_way[caller.name] -= 1
        if not self._under_way[caller.name]:
            del self._under_way[caller.name]

    def _counts(self, caller: Identity) -> bool:
        return self._local or caller.via != "local"

"""How much of the service one caller gets: requests a second, and requests that wait at a time.

Callers who are known are counted by their identity. An address (of IPv6 its /64) is counted for requests that show no
good credential only, so that who shares an address with an attacker is not shut out with him.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from flyinglow.access.rates import Buckets, Rate, neighbourhood
from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flyinglow.access.identity import Identity

NO_LIMIT = Rate(0.0, 1.0)


def too_many(wait: float = 1.0) -> TransientError:
    """Return what is said to who sent too many, and may come again in ``wait`` seconds."""
    seconds = math.ceil(wait)
    return TransientError("too many requests at once; this one was not carried out", {"retry.after": seconds})


class Gate:
    """Belongs to the reactor's thread, but for ``caller``. ``clock`` gives monotonic seconds.

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
        """Count a request without a good credential, and return 0.0; or the seconds after which one is taken again."""
        return self._addresses.take(neighbourhood(address))

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

"""Keeps the daemon's timers going when somebody sets the clock back.

Twisted counts by the time of day. A clock that is set back by an hour would stop every timer that is pending for that
hour: no lease would end, no order be repeated, no slow peer be sent away.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def steady(
    reactor: Any,
    time_of_day: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Have ``reactor`` count by the time of day as long as that goes on, and by what passes when it is set back.

    Call it before the reactor runs.
    """
    ahead = [time_of_day() - monotonic()]

    def seconds() -> float:
        now = time_of_day()  # read first: a pause before the next line must not look like a clock that was set on
        passed = monotonic()
        ahead[0] = max(ahead[0], now - passed)
        return ahead[0] + passed

    reactor.seconds = seconds

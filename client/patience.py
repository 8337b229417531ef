"""Comes again when a service says that it was asked for too much at once, and when it says to come again.

Only answers that say nothing was carried out are tried again: 429, and 503 with Retry-After. So any operation may be.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES: Final = 4
LONGEST: Final = 30.0
"""Seconds of the longest pause; a service that asks for more gets its answer passed on."""

_BUSY: Final = frozenset({429, 503})


def patiently(send: Callable[[], Any], sleep: Callable[[float], object] = time.sleep) -> Any:
    """Send, up to ``TRIES`` times, and return the last response."""
    for _ in range(TRIES - 1):
        response = send()
        pause = pause_of(response.status_code, response.headers.get("Retry-After"))
        if pause is None:
            return response
        sleep(pause)
    return send()


def pause_of(status: int, retry_after: str | None) -> float | None:
    """Return the seconds after which to try again; None: not at all. Only a number of seconds is heeded."""
    if status not in _BUSY or retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return None
    pause = float(retry_after)
    return pause if pause <= LONGEST else None

"""Remembers the signed messages of a short while, so that none is carried out twice."""

from __future__ import annotations

import heapq
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import ExhaustedError, TransientError
from flyinglow.wsrf.security.positions import SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = timedelta(minutes=5)
"""How old a signed message may be."""

AHEAD: Final = timedelta(seconds=10)
"""How far a sender's clock may be ahead of ours."""

_LONGER: Final = AHEAD + timedelta(seconds=60)
"""How long a message is remembered beyond its time, so that a clock that is set back lets none in again."""


class Replays:
    """The messages of the last ``WINDOW`` and a little longer, in memory. Safe to use from several threads.

    It begins empty, so what was made before it began is refused: it may have been carried out by the process before.
    Each sender has room for ``per_sender`` messages and all for ``most``; beyond that new ones are refused, because
    forgetting old ones would let them in again.
    """

    def __init__(self, now: Callable[[], datetime], *, most: int = 200_000, per_sender: int = 20_000) -> None:
        self._now = now
        self._began = now()
        self._most, self._per_sender = most, per_sender
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        self._ends: list[tuple[datetime, str, str]] = []
        self._count: dict[str, int] = {}

    def in_time(self, created: datetime, expires: datetime | None) -> None:
        """See that a message was made lately. Raises SignatureError, or TransientError just after a start."""
        now = self._now()
        if created > now + AHEAD:
            raise SignatureError("the message's Timestamp lies in the future; is the sender's clock right?")
        if created < now - WINDOW or (expires is not None and now >= expires + AHEAD):
            raise SignatureError("the message's Timestamp is too old")
        if created <= self._began + AHEAD:
            raise TransientError("the service has just started and cannot know this message is new; sign another")

    def take(self, sender: str, message_id: str, created: datetime) -> None:
        """Note a message that is proven. Raises SignatureError when it was noted before, or is too old by now."""
        key = (sender, message_id)
        with self._lock:
            now = self._now()  # what is forgotten by it is too old by it
            self._forget(now)
            if created < now - WINDOW:
                raise SignatureError("the message's Timestamp is too old")
            if key in self._seen:
                raise SignatureError("the message has been received before; one that is sent again must be signed anew")
            if len(self._seen) >= self._most or self._count.get(sender, 0) >= self._per_sender:
                raise ExhaustedError("too many signed messages in a short while; try again in some minutes")
            self._seen.add(key)
            self._count[sender] = self._count.get(sender, 0) + 1
            heapq.heappush(self._ends, (created + WINDOW + _LONGER, sender, message_id))

    def __len__(self) -> int:
        return len(self._seen)

    def _forget(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] < now:
            _, sender, message_id = heapq.heappop(self._ends)
            self._seen.discard((sender, message_id))
            self._count[sender] -= 1
            if not self._count[sender]:
                del self._count[sender]

"""Watch a transfer: how far it is, how fast, that it stays within its limit, and whether it is still wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flyinglow.nodectl.errors import ConflictError, InvalidError

MIB = 1 << 20
EVERY = 1.0  # seconds between two words about a transfer
STRETCH = 64 * MIB  # for which room is made at a time where nobody says how long a transfer will be


class Cancelled(ConflictError):
    """What a transfer was for is not wanted any more."""


@dataclass
class Meter:
    """One transfer's meter. ``limit`` is in bytes; ``room`` is called with what a transfer will need on the disk.

    ``hear`` gets how long the whole will be, None when nobody says; ``tell`` one line for people about how far it is.
    """

    what: str
    limit: int
    clock: Callable[[], float]
    cancelled: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda _: None
    room: Callable[[int], None] = lambda _: None
    hear: Callable[[int | None], None] = lambda _: None
    _begun: tuple[float, int] | None = field(default=None, init=False)
    _told: float = field(default=float("-inf"), init=False)
    _roomy: int = field(default=0, init=False)

    def check(self) -> None:
        """Raise Cancelled when nobody wants it any more."""
        if self.cancelled():
            raise Cancelled(f"{self.what} was cut short: what it was for is being removed")

    def expect(self, total: int | None) -> None:
        """Hear how long it will be. Raises InvalidError when too long, ExhaustedError when there is no room."""
        if total is not None:
            self._make_room(total)
        self.hear(total)

    def at(self, done: int, total: int | None = None) -> None:
        """Hear how many bytes are there. Raises InvalidError beyond the limit, Cancelled when not wanted."""
        self.check()
        self._within(done)
        if done > self._roomy:
            self._make_room(min(done + STRETCH, self.limit))
        now = self.clock()
        if self._begun is None:
            self._begun = (now, done)
        if now - self._told >= EVERY:
            self._told = now
            self.tell(self._words(done, total, now))

    def _make_room(self, total: int) -> None:
        self._within(total)
        self.room(total)
        self._roomy = total

    def _words(self, done: int, total: int | None, now: float) -> str:
        begun, first = self._begun or (now, done)
        rate = f", {(done - first) / (now - begun) / MIB:.1f} MiB/s" if now > begun else ""
        whole = "" if total is None else f" of {total / MIB:.1f}"
        return f"{self.what}: {done / MIB:.1f}{whole} MiB{rate}"

    def _within(self, size: int) -> None:
        if size > self.limit:
            raise InvalidError(f"{self.what}: more than the {self.limit // MIB} MiB that are allowed")

"""Polls that are held back: one a slot, until there is an order, another standing, or nothing for long enough.

Orders go only to a poll of this run of the service (its *session*) whose number (*turn*) is higher than any before, so
that a recorded poll brings nobody any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from flyinglow.pilot.messages import LONG_POLL

if TYPE_CHECKING:
    from collections.abc import Callable

    from flyinglow.pilot.messages import Message, Standing

URGENT_POLL = 2.0
"""Seconds that a poll is held while the slot is to end: an answer that says so may be lost, so it is given often."""

MOST_DESKS = 1 << 16
"""Slots whose polls are remembered."""

Orders = tuple[tuple[int, dict[str, Any]], ...]


@dataclass(slots=True)
class _Desk:
    """One slot's polls."""

    incarnation: str
    turn: int = 0  # the highest poll's
    said: int = 0  # the highest of agent lines
    told: tuple[Any, ...] | None = None  # the standing that the last answer told
    held: Deferred[None] | None = None


class Polls:
    """All slots' polls. ``standing`` says how things are for a slot, now."""

    def __init__(self, clock: Any, session: str, standing: Callable[[str], Standing]) -> None:
        self.session = session
        self._clock = clock
        self._standing = standing
        self._desks: dict[str, _Desk] = {}
        self._stopped = False

    async def ask(self, poll: Message, fetch: Callable[[int], Orders]) -> Orders:
        """Return the orders for this poll, when it is time to answer it; none for one that is not to have any.

        ``fetch`` returns what there is beyond the order of a number.
        """
        desk = self._desk(poll)
        if poll.session != self.session or poll.turn <= desk.turn:
            return ()
        desk.turn = poll.turn
        self._release(desk)
        orders = fetch(poll.got)
        if not orders and self._may_wait(poll.slot, desk):
            await self._hold(poll.slot, desk)
            orders = fetch(poll.got) if desk.turn == poll.turn else ()
        desk.told = _gist(self._standing(poll.slot))
        return orders

    def is_new(self, said: Message) -> bool:
        """Tell whether agent lines are to be heard: a recorded message of another run, or of this, is not."""
        desk = self._desk(said)
        if said.session and said.session != self.session:
            return False
        if said.turn:
            fresh, desk.said = said.turn > desk.said, max(said.turn, desk.said)
            return fresh
        return True

    def ring(self, slot_id: str) -> None:
        """Answer the slot's poll, if one is held back."""
        if desk := self._desks.get(slot_id):
            self._release(desk)

    def forget(self, slot_id: str) -> None:
        """Answer the slot's poll and keep nothing of it."""
        self.ring(slot_id)
        self._desks.pop(slot_id, None)

    def stop(self) -> None:
        """Answer all polls that are held back, and hold none any more."""
        self._stopped = True
        for desk in list(self._desks.values()):
            self._release(desk)

    def _desk(self, said: Message) -> _Desk:
        desk = self._desks.get(said.slot)
        if desk is None or desk.incarnation != said.incarnation:
            self.forget(said.slot)
            desk = self._desks[said.slot] = _Desk(said.incarnation)
            if len(self._desks) > MOST_DESKS:
                self.forget(next(iter(self._desks)))  # the oldest; its pilot comes again, if there is one
        return desk

    def _may_wait(self, slot_id: str, desk: _Desk) -> bool:
        return not self._stopped and desk.told == _gist(self._standing(slot_id))

    async def _hold(self, slot_id: str, desk: _Desk) -> None:
        now = self._standing(slot_id)
        seconds = URGENT_POLL if now.end or now.warned is not None else LONG_POLL
        held: Deferred[None] = Deferred()
        desk.held = held
        timer = self._clock.callLater(seconds, self._release, desk)
        try:
            await held
        finally:
            if timer.active():
                timer.cancel()
            if desk.held is held:
                desk.held = None

    def _release(self, desk: _Desk) -> None:
        held, desk.held = desk.held, None
        if held is not None and not held.called:
            held.callback(None)


def _gist(standing: Standing) -> tuple[Any, ...]:
    """Return what makes one standing another: times that count down do not."""
    return standing.end, standing.reason, standing.left is None, standing.warned is None

"""Orders that were given to a node and are not answered yet, whatever way they went.

Whoever gave an order may give up on it: its time is over, or it is cancelled. Then it is forgotten here, and the
channel is told, for it may be on the node already: there it stops what it would take long to finish (``unwanted``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from flyinglow.backend.api import Order
from flyinglow.nodectl.messages import CANCELS, OrderName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flyinglow.backend.channel.wire import Answer
    from flyinglow.nodectl.errors import FlyingLowError

LONG = frozenset({OrderName.CREATE, OrderName.SAVE})
"""Orders that may wait for a transfer."""


def unwanted(order: Order, version: int) -> Order | None:
    """Return the order by which a node stops working on one that nobody waits for; None where there is no use in it."""
    if order.name not in LONG or version < CANCELS:
        return None
    return Order(OrderName.CANCEL, order.tag, {"order": order.name.value})


class Waiting:
    """The waiting orders of one channel by number. ``given_up(number, order)`` hears of those that are forgotten."""

    def __init__(self, given_up: Callable[[int, Order], None]) -> None:
        self._given_up = given_up
        self._pending: dict[int, tuple[Order, Deferred[Mapping[str, Any]]]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._pending

    def add(self, number: int, order: Order) -> Deferred[Mapping[str, Any]]:
        """Wait for the answer to an order."""
        answer: Deferred[Mapping[str, Any]] = Deferred(lambda _: self._forget(number))
        self._pending[number] = order, answer
        return answer

    def take(self, message: Answer) -> bool:
        """Give an answer to whoever waits for it; False when nobody does any longer."""
        _, waiter = self._pending.pop(message.id, (None, None))
        if waiter is None:
            return False
        if message.error:
            waiter.errback(message.error)
        else:
            waiter.callback(message.body)
        return True

    def fail(self, error: FlyingLowError, upto: int | None = None) -> list[int]:
        """Fail what waits, up to a number; return the numbers."""
        numbers = [number for number in self._pending if upto is None or number <= upto]
        for number in numbers:
            _, waiter = self._pending.pop(number, (None, None))  # a waiter may take others with it
            if waiter is not None:
                waiter.errback(error)
        return numbers

    def _forget(self, number: int) -> None:
        order, _ = self._pending.pop(number, (None, None))
        if order is not None:
            self._given_up(number, order)

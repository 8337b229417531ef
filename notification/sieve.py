"""The sieve: evaluates the filters for which there was no time when their events were handed on.

Such a delivery waits, with all that follows it for the same subscription, until its filter was evaluated: nothing is
sent that was not asked for, nothing is lost, and nothing is out of order. The owners have their turns one after the
other, so that one whose filters are slow keeps his own subscriptions waiting and no others for long. What is evaluated
holds no transaction that writes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from flyinglow.notification.contents import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from flyinglow.notification.contents import Contents
    from flyinglow.notification.model import Subscription
    from flyinglow.notification.ports import NotificationTx
    from flyinglow.workspace.model import Event
    from flyinglow.workspace.ports import Now

UNTOLD: Final = "its message filter took too long to evaluate; subscribe with a simpler one, then end this one"
TURN: Final = 0.25
"""Seconds after which the next owner has his turn."""

_MOST: Final = 100
_FOREVER: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What came of one subscription's turn: the positions let through, those refused, and whether it is too slow."""

    subscription_id: str
    let: Sequence[int]
    refused: Sequence[int]
    slow: bool = False


class Sieve:
    """Evaluates one subscription's filter at a time. ``clock`` tells seconds; blocking, one thread at a time."""

    def __init__(
        self,
        *,
        contents: Contents,
        properties: Callable[[NotificationTx, Event], bytes | None],
        now: Now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contents = contents
        self._properties = properties
        self._now = now
        self._clock = clock
        self._last = ""

    def look(self, tx: NotificationTx) -> Turn | None:
        """Evaluate for whoever's turn it is; None: for nobody. The transaction, which only reads."""
        waiting = tx.deliveries.unjudged()
        if not waiting:
            return None
        owners = sorted({owner for owner, _ in waiting})
        self._last = next((owner for owner in owners if owner > self._last), owners[0])
        name = next(name for owner, name in waiting if owner == self._last)
        row = tx.subscriptions.get(name)
        return Turn(subscription_id=name, let=(), refused=()) if row is None else self._turn(tx, row)

    def _turn(self, tx: NotificationTx, row: Subscription) -> Turn:
        let: list[int] = []
        refused: list[int] = []
        end = self._clock() + TURN
        for delivery in tx.deliveries.to_judge(row.id, _MOST):
            event = delivery.event
            patience = Patience(left=2, seconds=_FOREVER)  # one evaluation ends by itself
            found = self._contents.judge(event, [row], patience, partial(self._properties, tx, event))
            if row.id in found.untold:
                return Turn(subscription_id=row.id, let=let, refused=refused, slow=True)
            (refused if row.id in found.refused else let).append(delivery.position)
            if self._clock() >= end:
                break
        return Turn(subscription_id=row.id, let=let, refused=refused)

    def settle(self, tx: NotificationTx, turn: Turn) -> None:
        """Write down what came of a turn; the transaction. A subscription whose filter is too slow is paused."""
        row = tx.subscriptions.get(turn.subscription_id)
        if row is None:
            return
        tx.deliveries.judged(turn.let, turn.refused)
        if turn.slow:
            tx.subscriptions.write(paused(row, self._now()))


def paused(row: Subscription, at: datetime) -> Subscription:
    """Return a subscription as it is once its filter was too slow; what happens is kept for it, unjudged."""
    return replace(row, paused_at=row.paused_at or at, pause_reason=UNTOLD)

"""The node channel over a pilot: orders ride in the answers to its polls, the agent's lines come back as it says them.

Orders wait in memory only: after a restart of the service whoever gave one gives it again. Their numbers start anywhere
in a large range, so that an answer to another run's order is nobody's.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from flyinglow.backend.api import node_name
from flyinglow.backend.channel.cork import Cork
from flyinglow.backend.channel.waiting import Waiting, unwanted
from flyinglow.backend.channel.wire import Answer, Hello, order_piece, read
from flyinglow.backend.lrm.states import SLOT_OVER, SlotState
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, TransientError, UnknownError
from flyinglow.nodectl.messages import MAX_LINE, OLDEST
from flyinglow.pilot.messages import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from flyinglow.backend.api import Order
    from flyinglow.backend.lrm.model import Slot
    from flyinglow.nodectl.messages import VmInfo

log = structlog.get_logger(__name__)

_MOST_WAITING = 1024  # orders of one slot that nobody has fetched yet
_LARGEST_ANSWER = MAX_BYTES // 2  # bytes of orders in one answer; writing them as text within text makes them longer


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An order that the pilot has not said to have."""

    number: int
    line: dict[str, Any]
    size: int


class PilotChannel:
    """Implements ``NodeChannel`` for one slot. Orders to it are fetched by ``orders``, answers come in by ``hear``."""

    def __init__(
        self, clock: Any, place: str, first: int, news: Callable[[str, VmInfo], None], ring: Callable[[], None]
    ) -> None:
        self.place = place
        self.hello: Hello | None = None
        self.over: FlyingLowError | None = None
        self._clock = clock
        self._number = first
        self._got = 0
        self._given = 0  # the highest number that was ever handed out
        self._news = news
        self._ring = ring
        self._unfetched: deque[_Waiting] = deque()
        self._waiting = Waiting(self._given_up)
        self._cork = Cork(self._uncorked)
        self._heard_at: float | None = None

    async def send(self, order: Order, timeout: float) -> Mapping[str, Any]:
        """Carry out one order; see ``NodeChannel``. Raises UnknownError when the slot is over."""
        if self.over:
            raise self.over
        if len(self._unfetched) >= _MOST_WAITING:
            raise TransientError(f"{len(self._unfetched)} orders to {self._name} wait already")
        number = self._put(order)
        answer = self._waiting.add(number, order)
        if not self._cork.is_in:
            self._ring()

        def too_late(_result: object, seconds: float) -> Mapping[str, Any]:
            raise TransientError(
                f"{self._name} did not answer to {order.name.value} within {seconds:g} s{self._since()}"
            )

        return await answer.addTimeout(timeout, self._clock, too_late)

    def together(self) -> AbstractContextManager[None]:
        """Let the pilot fetch the orders that are given within this context at once; see ``Together``."""
        return self._cork.together()

    def close(self) -> None:
        """Let go of the node: orders under way fail. The pilot and its VMs are left alone."""
        self.fail(TransientError(f"the channel to {self._name} was closed"))

    def orders(self, got: int) -> tuple[tuple[int, dict[str, Any]], ...]:
        """Return what the pilot does not have yet, oldest first, as much as one answer holds."""
        self._heard_at = self._clock.seconds()
        if self._got < got <= self._given:
            self._got = got
        while self._unfetched and self._unfetched[0].number <= self._got:
            self._unfetched.popleft()
        taken: list[tuple[int, dict[str, Any]]] = []
        size = 0
        for waiting in self._unfetched:
            size += waiting.size
            if taken and size > _LARGEST_ANSWER:
                break
            taken.append((waiting.number, waiting.line))
        if taken:
            self._given = max(self._given, taken[-1][0])
        return tuple(taken)

    def hear(self, lines: Sequence[Any]) -> None:
        """Take in what the agent wrote, in its order. What is not of the protocol is logged, and ends nothing."""
        self._heard_at = self._clock.seconds()
        for line in lines:
            try:
                self._heard(line)
            except BrokenError as error:
                log.warning("an agent is not understood", place=self.place, error=error.message)
                self.fail(BrokenError(f"the agent of {self._name} is not understood: {error.message}"))

    def end(self, error: FlyingLowError) -> None:
        """Be of no more use: every order fails with this error from now on."""
        self.over = error
        self.fail(error)

    def fail(self, error: FlyingLowError, upto: int | None = None) -> None:
        """Fail the orders that wait for an answer, up to a number."""
        self._unfetched = deque(
            waiting for waiting in self._unfetched if waiting.number not in self._waiting or not _is_upto(waiting, upto)
        )
        self._waiting.fail(error, upto)

    def _uncorked(self) -> None:
        if self._unfetched:
            self._ring()

    @property
    def _name(self) -> str:
        return f"node {node_name(self.place)} (slot {self.place.partition('@')[0]})"

    def _since(self) -> str:
        if self._heard_at is None:
            return "; its pilot has not asked for orders yet"
        return f"; its pilot was last heard {self._clock.seconds() - self._heard_at:.1f} s ago"

    def _put(self, order: Order) -> int:
        number = self._number + 1
        text = order_piece(number, order).decode()
        size = len(json.dumps(text))
        if size > MAX_LINE + _LARGEST_ANSWER // 2:
            raise InvalidError(
                f"the order {order.name.value} is {size} bytes long when it is signed, which is too much"
            )
        self._number = number
        version = self.hello.speaks if self.hello else OLDEST
        self._unfetched.append(_Waiting(number, {"v": version, **json.loads(text)}, size))
        return number

    def _heard(self, line: Any) -> None:
        text = line if isinstance(line, str) else json.dumps(line)
        message = read(text.encode("utf-8", "replace"))
        if isinstance(message, Hello):
            self._started(message)
        elif isinstance(message, Answer):
            if not self._waiting.take(message):
                log.debug("an answer to an order that nobody waits for", place=self.place)
        else:
            self._pass_on(message.info)

    def _started(self, hello: Hello) -> None:
        again, self.hello = self.hello is not None, hello
        if again:
            self.fail(TransientError(f"the agent of {self._name} was started anew"), self._given)

    def _pass_on(self, info: VmInfo) -> None:
        try:
            self._news(self.place, info)
        except Exception:
            log.exception("news of a VM could not be taken in", tag=info.tag, place=self.place)

    def _given_up(self, number: int, order: Order) -> None:
        """Nobody waits for an order any longer: one that the pilot may have is cancelled on its node."""
        self._unfetched = deque(waiting for waiting in self._unfetched if waiting.number != number)
        cancel = unwanted(order, self.hello.speaks) if self.hello and number <= self._given and not self.over else None
        if cancel is not None:
            self._put(cancel)
            self._ring()


def _is_upto(waiting: _Waiting, number: int | None) -> bool:
    return number is None or waiting.number <= number


class Lines:
    """The channels of all slots, by the slot's id.

    ``ring`` is called with it when there is an order to fetch, ``dropped`` when the slot is forgotten.
    """

    def __init__(
        self, clock: Any, news: Callable[[str, VmInfo], None], random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.ring: Callable[[str], None] = _unheard
        self.dropped: Callable[[str], None] = _unheard
        self._clock = clock
        self._news = news
        self._random = random
        self._channels: dict[str, PilotChannel] = {}

    def channel(self, slot: Slot) -> PilotChannel:
        """Return the kept channel to a slot's node. Raises UnknownError when no pilot holds the slot."""
        if slot.state in SLOT_OVER or slot.state is SlotState.UNBOUND:
            raise UnknownError(f"no pilot holds slot {slot.id}: it is {slot.state}")
        kept = self._channels.get(slot.id)
        if kept is not None and kept.place != slot.place:
            self.forget(slot.id)
            kept = None
        if kept is None:
            first = int.from_bytes(self._random(5), "big")
            kept = PilotChannel(self._clock, slot.place, first, self._news, lambda: self.ring(slot.id))
            self._channels[slot.id] = kept
        return kept

    def forget(self, slot_id: str) -> None:
        """Let go of a slot that is over: orders under way, and all later ones to it, fail with UnknownError."""
        if kept := self._channels.pop(slot_id, None):
            kept.end(UnknownError(f"slot {slot_id} is over"))
        self.dropped(slot_id)

    def close(self) -> None:
        """Fail all orders under way."""
        for kept in list(self._channels.values()):
            kept.close()


def _unheard(_: str) -> None:
    """Tell nobody: no intake has been made yet."""

"""Orders on their way to nodes: many at once, a bounded number on each node, answers taken up as they come.

A node that is slow or silent delays only the orders to itself. Nothing here raises for a node: a failure is an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import structlog
from twisted.internet.defer import Deferred

from flyinglow.backend.abilities import Together
from flyinglow.backend.api import NodeChannel, Order, node_name
from flyinglow.nodectl.errors import BrokenError, ConflictError, FlyingLowError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, vm_info
from flyinglow.workspace.model import Workspace

log = structlog.get_logger(__name__)
APART = frozenset({OrderName.DESTROY, OrderName.SAVE})
"""Orders with a lane of their own: when places go none waits for a create, and nothing waits for hours of saving."""


class GoneError(TransientError):
    """The place that an order was for is not there any more, so nothing of its workspace is left either."""

    kind = "transient"


@dataclass(frozen=True, slots=True)
class Ask:
    """One order for one workspace."""

    row: Workspace
    order: Order
    timeout: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: a body or an error."""

    row: Workspace
    body: Mapping[str, Any] = field(default_factory=dict)
    error: FlyingLowError | None = None

    def info(self) -> VmInfo:
        """Return the body as what the node says of the VM; raises the error, or BrokenError when it is not one."""
        if self.error is not None:
            raise self.error
        try:
            info = vm_info(dict(self.body))
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenError(f"node {node_name(self.row.node or '')} sent an answer that cannot be read") from error
        if info.tag != self.row.tag:
            raise BrokenError(
                f"node {node_name(self.row.node or '')} sent an answer that cannot be read: it is about another VM"
            )
        return info

    def read(self) -> tuple[VmInfo, None] | tuple[None, FlyingLowError]:
        """Return what the node says of the VM, or why nothing is known: one of the two, and nothing is raised."""
        try:
            return self.info(), None
        except FlyingLowError as error:
            return None, error


class Round:
    """Some orders that were sent together, and their answers as they come."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._come: list[Answer] = []
        self._waiting: Deferred[None] | None = None
        self.called_off = False

    def call_off(self) -> None:
        """Answer what has not been sent yet with a ConflictError; what is under way goes on."""
        self.called_off = True

    def put(self, answer: Answer) -> None:
        """Take one answer in."""
        self._come.append(answer)
        self._left -= 1
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def some(self) -> list[Answer]:
        """Return the answers that came since the last call, waiting for one if there are none; [] when that was all."""
        if not self._come and self._left:
            self._waiting = Deferred()
            await self._waiting
        come, self._come = self._come, []
        return come


class Orders:
    """Sends orders; ``channel`` gives the way to a node, ``per_node`` bounds those at each, destroys apart."""

    def __init__(self, channel: Callable[[str], NodeChannel], per_node: int) -> None:
        self._channel = channel
        self._per_node = per_node
        self._lanes: dict[tuple[str, OrderName | None], _Lane] = {}

    def send(self, asks: Sequence[Ask]) -> Round:
        """Send orders, each to the node of its workspace; those for one node as one message, as far as they may go."""
        answers = Round(len(asks))
        by_lane: dict[tuple[str, OrderName | None], list[Ask]] = {}
        for ask in asks:
            lane = ask.row.node or "", ask.order.name if ask.order.name in APART else None
            by_lane.setdefault(lane, []).append(ask)
        for lane, mine in by_lane.items():
            if lane not in self._lanes:
                self._lanes[lane] = _Lane(lane[0], self._channel, self._per_node)
            self._lanes[lane].submit(mine, answers)
        return answers


class _Lane:
    """The orders to one node: a queue and up to ``width`` workers, which end when it is empty."""

    def __init__(self, node: str, channel: Callable[[str], NodeChannel], width: int) -> None:
        self._node = node
        self._channel = channel
        self._width = width
        self._active = 0
        self._queue: deque[tuple[Ask, Round]] = deque()

    def submit(self, asks: Sequence[Ask], answers: Round) -> None:
        with self._together():
            for ask in asks:
                self._queue.append((ask, answers))
                if self._active < self._width:
                    self._active += 1
                    Deferred.fromCoroutine(self._work())

    def _together(self) -> AbstractContextManager[None]:
        try:
            channel = self._channel(self._node)
        except FlyingLowError:
            return nullcontext()  # each order will be answered with that
        return channel.together() if isinstance(channel, Together) else nullcontext()

    async def _work(self) -> None:
        try:
            while self._queue:
                ask, answers = self._queue.popleft()
                answers.put(await self._answer(ask, answers))
        finally:
            self._active -= 1

    async def _answer(self, ask: Ask, answers: Round) -> Answer:
        if answers.called_off:
            return Answer(ask.row, error=ConflictError(f"{ask.order.name.value} was called off before it was sent"))
        try:
            return Answer(ask.row, await self._reach().send(ask.order, ask.timeout))
        except FlyingLowError as error:
            return Answer(ask.row, error=error)
        except Exception:
            log.exception("an order failed in an unforeseen way", node=self._node, order=ask.order.name.value)
            return Answer(ask.row, error=BrokenError(f"the way to node {node_name(self._node)} is broken"))

    def _reach(self) -> NodeChannel:
        try:
            return self._channel(self._node)
        except UnknownError as error:
            raise GoneError(f"node {node_name(self._node)} cannot be reached: {error.message}") from error

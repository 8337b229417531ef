"""A lessee's request under way: the order goes to the node, and what the node says becomes the state.

A node that refuses, or answers what cannot be read, leaves the workspace as it was, with the reason. A silent one is
asked again a few times.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from flyinglow.backend.api import Order
from flyinglow.nodectl.errors import TransientError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmStatus
from flyinglow.workspace.crew import Crew, Stopped
from flyinglow.workspace.ending import said
from flyinglow.workspace.hands import Grip
from flyinglow.workspace.lifecycle import advance, ready, reclaim, record
from flyinglow.workspace.model import Stamp, Workspace
from flyinglow.workspace.orders import Answer, Ask
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task, may_follow
from flyinglow.workspace.steps import RECOVERY, Recovery

log = structlog.get_logger(__name__)

ORDERS: Mapping[Task, OrderName] = {
    Task.STARTING: OrderName.START,
    Task.PAUSING: OrderName.PAUSE,
    Task.RESUMING: OrderName.RESUME,
    Task.REBOOTING: OrderName.REBOOT,
    Task.SHUTTING_DOWN: OrderName.SHUTDOWN,
    Task.SAVING: OrderName.SAVE,
}
"""The order of each task."""

SEEN: Mapping[VmStatus, State] = {
    VmStatus.CREATED: State.PROPAGATED,
    VmStatus.STOPPED: State.PROPAGATED,
    VmStatus.RUNNING: State.RUNNING,
    VmStatus.PAUSED: State.PAUSED,
}
"""The state of a workspace whose VM its node sees so; a broken one has none."""


class Operation:
    """Carries requests out, many at once."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.saving: set[str] = set()  # ids of those whose disks are being sent just now

    async def run(self, rows: Sequence[Workspace], grip: Grip, recovered: Collection[str] = ()) -> None:
        """Carry out the task of each row; ``recovered`` are the ids of those found by a reconcile pass."""
        asks = [self._ask(row, recovered) for row in rows]
        sent = {ask.row.id for ask in asks if ask.order.name is OrderName.SAVE}
        self.saving |= sent
        answers = self._crew.orders.send(asks)
        while batch := await answers.some():
            self.saving -= sent & {answer.row.id for answer in batch}
            for again in await self._noted(batch):
                self._crew.later(self._crew.timing.backoff(again.attempts), [again.id])
            grip.free([answer.row.id for answer in batch])

    def _ask(self, row: Workspace, recovered: Collection[str]) -> Ask:
        name = ORDERS.get(row.task, OrderName.INFO) if row.task else OrderName.INFO
        body: Mapping[str, object] = {}
        if row.id in recovered and RECOVERY[row.status].how is Recovery.OBSERVE:
            name = OrderName.INFO
        elif name is OrderName.START:
            body = {"paused": row.target is State.PAUSED}
        elif name is OrderName.SHUTDOWN:
            body = {"seconds": self._crew.timing.grace}
        elif name is OrderName.SAVE:
            body = {"target": row.save_uri}
        limit = self._crew.timing.of(name)
        return Ask(row, Order(name, row.tag, body), max(limit, row.save_lead) if name is OrderName.SAVE else limit)

    async def _noted(self, batch: Sequence[Answer]) -> list[Workspace]:
        """Write a batch down together; where that fails, each answer alone, so that a bad one stops only itself."""
        try:
            return await self._crew.commit("operation.done", partial(self._note, batch))
        except Stopped:
            raise
        except Exception:
            log.exception("what nodes answered could not be written down", tags=[answer.row.tag for answer in batch])
        if len(batch) == 1:
            self._crew.later(self._crew.timing.backoff(4), [batch[0].row.id])
            return []
        return [again for answer in batch for again in await self._noted([answer])]

    def _note(self, batch: Sequence[Answer], tx: Tx) -> list[Workspace]:
        """Write down what became of each; return those whose nodes are to be asked again."""
        now = self._crew.now()
        again = []
        for answer in batch:
            row = tx.workspaces.get(answer.row.id)
            if row is None or row.status != answer.row.status:
                continue  # its owner wants something else by now
            info, error = answer.read()
            if info is not None:
                seen(tx, row, info, now)
            elif isinstance(error, TransientError):
                again += self._silent(tx, row, error, now)
            elif error is not None:
                advance(tx, row, Status(row.state), now=now, reason=error.message)
        return again

    def _silent(self, tx: Tx, row: Workspace, error: TransientError, now: datetime) -> list[Workspace]:
        if row.attempts + 1 < self._crew.timing.tries:
            return [record(tx, row, attempts=row.attempts + 1)]
        advance(tx, row, Status(row.state), now=now, reason=error.message, attempts=0)
        return []


def seen(tx: Tx, row: Workspace, info: VmInfo, now: datetime) -> Workspace:
    """End the row's task with the state in which its node sees the VM; a broken VM is reclaimed."""
    state = SEEN.get(info.status)
    seconds = {**row.seconds, **info.seconds}
    if state is None:
        reason = info.reason or "its VM broke on its node"
        return reclaim(tx, row, State.CORRUPTED, now=now, reason=reason, seconds=seconds)
    if state is State.PROPAGATED and row.target is State.TRANSPORT_READY:
        return _saved(tx, row, info, now, seconds)
    if not may_follow(row.status, Status(state)):
        state = row.state
    reason = "" if state is row.target else info.reason or f"its node says that it is {info.status.value}"
    first = state is State.RUNNING and Stamp.STARTED not in row.stamps
    stamps = [Stamp.STARTED] if first else []
    stored = advance(tx, row, Status(state), now=now, reason=reason, stamps=stamps, seconds=seconds, attempts=0)
    return ready(tx, stored, now=now) if info.ready else stored


def _saved(tx: Tx, row: Workspace, info: VmInfo, now: datetime, seconds: Mapping[str, float]) -> Workspace:
    """Go on with saving once the VM is down, and end when its disk was sent away."""
    if row.task is not Task.SAVING:
        next_one = Status(State.PROPAGATED, Task.SAVING)
        return advance(tx, row, next_one, now=now, target=row.target, seconds=seconds, attempts=0)
    kept: dict[str, Any] = {"saved": {**info.saved, "at": now.isoformat()}, "seconds": seconds, "attempts": 0}
    reason = said(replace(row, saved=info.saved))
    return advance(tx, row, Status(State.TRANSPORT_READY), now=now, reason=reason, **kept)

"""Giving back: the VM is destroyed on its node, and only when the node has confirmed is anything free again.

State, capacity and addresses change in one transaction, so neither can leak. A node that does not answer is asked
again with back-off for as long as it takes; until then all stays held. Where the back-end knows of no such place any
more, nothing is left to destroy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import structlog

from flyinglow.backend.api import Order
from flyinglow.nodectl.errors import FlyingLowError, UnknownError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.crew import Crew
from flyinglow.workspace.hands import Grip
from flyinglow.workspace.lifecycle import advance, record
from flyinglow.workspace.model import Selection, Stamp, Workspace
from flyinglow.workspace.orders import Answer, Ask, GoneError
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.quotas import used
from flyinglow.workspace.states import State, Status, Task

log = structlog.get_logger(__name__)


class Reclaim:
    """Gives back what workspaces hold, many at once."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    async def run(self, rows: Sequence[Workspace], grip: Grip) -> None:
        """Have each row's VM destroyed and end the row; what fails is tried again later."""
        untouched = [row for row in rows if Stamp.LAUNCHED not in row.stamps or row.node is None]
        if untouched:
            await self._end([Answer(row) for row in untouched], grip)
        asks = [self._ask(row) for row in rows if row.node is not None and Stamp.LAUNCHED in row.stamps]
        answers = self._crew.orders.send(asks)
        while batch := await answers.some():
            done = [
                answer for answer in batch if answer.error is None or isinstance(answer.error, UnknownError | GoneError)
            ]
            if done:
                await self._end(done, grip)
            ended = {answer.row.id for answer in done}
            await self._count([answer for answer in batch if answer.row.id not in ended], grip)

    def _ask(self, row: Workspace) -> Ask:
        return Ask(row, Order(OrderName.DESTROY, row.tag), self._crew.timing.destroy)

    async def _end(self, done: Sequence[Answer], grip: Grip) -> None:
        ids = [answer.row.id for answer in done]
        over = await self._crew.commit("reclaim.done", partial(self._ended, ids))
        grip.free(ids)
        for launch_set in over:
            await self.release(launch_set)

    def _ended(self, ids: Collection[str], tx: Tx) -> list[str]:
        """End the rows and free all that was theirs; return the launch sets of which nothing lives any more."""
        now = self._crew.now()
        rows = [row for row in tx.workspaces.select(Selection(ids=tuple(ids))) if row.task is Task.RECLAIMING]
        for row in rows:
            advance(tx, row, Status(row.target or State.ENDED), now=now, attempts=0)
        tx.accounts.spend(used(rows, now))
        tx.nodes.free([row.id for row in rows])
        tx.addresses.give_back([row.id for row in rows])
        sets = sorted({row.launch_set for row in rows})
        return [key for key in sets if not tx.workspaces.select(Selection(launch_set=key, living=True, limit=1))]

    async def release(self, launch_set: str) -> None:
        """Give the back-end's part back; a failure is left to the reconcile pass, which names the claims that live."""
        try:
            await self._crew.backend.release(launch_set)
        except FlyingLowError as error:
            log.warning("the back-end did not release a launch set", launch_set=launch_set, error=error.message)

    async def _count(self, failed: Sequence[Answer], grip: Grip) -> None:
        if not failed:
            return
        rows = await self._crew.commit("reclaim.failed", partial(self._failed, failed))
        grip.free([answer.row.id for answer in failed])
        for row in rows:
            self._crew.later(self._crew.timing.backoff(row.attempts), [row.id])

    def _failed(self, failed: Sequence[Answer], tx: Tx) -> list[Workspace]:
        rows = []
        for answer in failed:
            row = tx.workspaces.get(answer.row.id)
            if row is not None and row.task is Task.RECLAIMING:
                rows.append(record(tx, row, attempts=row.attempts + 1))
                log.warning(
                    "clean-up failed and will be tried again",
                    tag=row.tag,
                    node=row.node,
                    attempts=row.attempts + 1,
                    error=str(answer.error),
                )
        return rows

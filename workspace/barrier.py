"""The ready barrier: a launch set is Running when the guests of all its members have said that they are ready.

Every VM runs already; the rows wait as (Propagated, Starting), each with the time until which its guest must have
spoken. A guest says so through the context endpoint, or by its image's mark on the console. All of them wait together:
one guest that reports an error, or says nothing in time, fails the launch set, and the reason has the end of its
console. A member that its owner destroys meanwhile is waited for no longer. A restart counts anew (section 3.3 of the
paper: a cluster is of use when all of its members are configured).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flyinglow.backend.api import Order
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.context_tail import TAIL_BYTES, tail_words
from flyinglow.workspace.crew import Crew
from flyinglow.workspace.lifecycle import advance, reclaim, record
from flyinglow.workspace.model import GuestStatus, Selection, Stamp, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.steps import TOGETHER, Step, step_of

_WAITING = Status(State.PROPAGATED, Task.STARTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a launch set stands at its barrier. ``failing`` is a member that fails it, and why."""

    waiting: tuple[Workspace, ...] = ()
    ready: int = 0
    total: int = 0
    failing: tuple[Workspace, str] | None = None

    @property
    def passed(self) -> bool:
        """Whether there is nobody left to wait for."""
        return self.ready == self.total

    @property
    def reason(self) -> str:
        """What it waits for."""
        return f"waits for guests: {self.ready} of {self.total}"

    @property
    def due(self) -> datetime | None:
        """The first time at which somebody will be late; None while those that are not ready are being started."""
        times = (row.ready_by for row in self.waiting if row.ready_by and Stamp.READY not in row.stamps)
        return min(times, default=None)


def sight_of(tx: Tx, launch_set: str, now: datetime) -> Sight:
    """Look at a launch set; one of which nobody waits has nothing ``waiting``."""
    rows = [row for row in tx.workspaces.select(Selection(launch_set=launch_set, living=True)) if row.ready_within]
    waiting = tuple(row for row in rows if step_of(row) is Step.AWAIT)
    total = sum(step_of(row) in TOGETHER for row in rows)
    ready = sum(Stamp.READY in row.stamps for row in waiting)
    return Sight(waiting=waiting, ready=ready, total=total, failing=_failing(tx, waiting, now))


def _failing(tx: Tx, waiting: Sequence[Workspace], now: datetime) -> tuple[Workspace, str] | None:
    reports = tx.guests.reports([row.id for row in waiting])
    for row in sorted(waiting, key=lambda each: each.name):
        report = reports.get(row.id)
        if report is not None and report.status is GuestStatus.ERROR:
            return row, f"its guest reported an error: {report.message or 'without a word'}"
        if Stamp.READY not in row.stamps and row.ready_by is not None and row.ready_by <= now:
            return row, f"its guest did not say within {row.ready_within} s that it is ready"
    return None


def enter(tx: Tx, row: Workspace, *, now: datetime, **facts: object) -> Workspace:
    """Let a member whose VM was started wait for the guests; ``facts`` are further columns."""
    ready_by = now + timedelta(seconds=row.ready_within or 0)
    return advance(
        tx,
        row,
        _WAITING,
        now=now,
        target=State.RUNNING,
        stamps=[Stamp.STARTED],
        reason="waits for guests",
        ready_by=ready_by,
        **facts,
    )


def fail(tx: Tx, launch_set: str, *, now: datetime, reason: str) -> None:
    """Give a whole launch set back: a member has failed."""
    for row in tx.workspaces.select(Selection(launch_set=launch_set, living=True)):
        reclaim(tx, row, State.CORRUPTED, now=now, reason=reason)


class Barrier:
    """Looks at launch sets that wait, when something has happened to a member and when time is up."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._looking: dict[str, bool] = {}  # launch set -> something has happened meanwhile
        self._due: dict[str, datetime] = {}  # when it is looked at by itself

    async def run(self, launch_set: str) -> None:
        """Write down how a launch set stands, and let it through or back when that is decided."""
        if launch_set in self._looking:
            self._looking[launch_set] = True
            return
        self._looking[launch_set] = True
        try:
            while self._looking[launch_set]:
                self._looking[launch_set] = False
                await self._look(launch_set)
        finally:
            del self._looking[launch_set]

    async def _look(self, launch_set: str) -> None:
        sight = await self._crew.store.read(lambda tx: sight_of(tx, launch_set, self._crew.now()))
        if not sight.waiting:
            self._due.pop(launch_set, None)
        elif sight.failing is not None:
            tail = await self._tail(sight.failing[0])
            await self._crew.commit("barrier.failed", partial(self._failed, launch_set, tail))
        elif sight.passed:
            await self._crew.commit("barrier.passed", partial(self._passed, launch_set))
        else:
            if any(row.reason != sight.reason for row in sight.waiting):
                await self._crew.commit("barrier.counted", partial(self._counted, launch_set))
            if sight.due is not None:
                self._again(launch_set, sight.waiting[0].id, sight.due)

    def _again(self, launch_set: str, member: str, due: datetime) -> None:
        """Look once more when somebody is late, unless that is arranged already."""
        now, known = self._crew.now(), self._due.get(launch_set)
        if known is None or known <= now or due < known:
            self._due[launch_set] = due
            self._crew.later(max(0.0, (due - now).total_seconds()), [member])

    def _counted(self, launch_set: str, tx: Tx) -> None:
        """Write the count down. Nobody is notified of it but by the report that changed it."""
        sight = sight_of(tx, launch_set, self._crew.now())
        for row in sight.waiting:
            if row.reason != sight.reason:
                record(tx, row, reason=sight.reason)

    def _passed(self, launch_set: str, tx: Tx) -> None:
        now = self._crew.now()
        sight = sight_of(tx, launch_set, now)
        for row in sight.waiting if sight.passed and sight.failing is None else ():
            advance(tx, row, Status(State.RUNNING), now=now, ready_by=None)

    def _failed(self, launch_set: str, tail: str, tx: Tx) -> None:
        now = self._crew.now()
        failing = sight_of(tx, launch_set, now).failing
        if failing is not None:
            row, why = failing
            fail(tx, launch_set, now=now, reason=f"member {row.name}: {why}; its console ends: {tail}")

    async def _tail(self, row: Workspace) -> str:
        """Return the end of a member's console, or why it cannot be had."""
        secret = self._crew.endpoint.token(row.id) if self._crew.endpoint else None
        try:
            channel = self._crew.backend.channel(row.node or "")
            seconds = self._crew.timing.info
            size = (await channel.send(Order(OrderName.CONSOLE, row.tag, {"offset": 0, "max": 1}), seconds))["size"]
            wanted = {"offset": max(0, int(size) - TAIL_BYTES), "max": TAIL_BYTES}
            body = await channel.send(Order(OrderName.CONSOLE, row.tag, wanted), seconds)
            data = base64.b64decode(body["data"], validate=True)
            return tail_words(data, whole=body["offset"] == 0, secret=secret) or "(it said nothing)"
        except FlyingLowError as error:
            return f"({error.message})"
        except (KeyError, TypeError, ValueError, binascii.Error):
            return "(its node sent an answer that cannot be read)"

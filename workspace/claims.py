"""What a back-end tells unasked of a claim: why it waits, that its places are about to go, that they are gone.

A claim's key is its launch set. What is told is written down in the order in which it was told; one that came too late
(the workspace went on, or is being given back already) changes nothing. Section 3.2 of the paper: the client is told
how long it has before its resources are taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

import structlog

from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.workspace.crew import Crew, Stopped
from flyinglow.workspace.ending import taken
from flyinglow.workspace.ends import schedule
from flyinglow.workspace.lifecycle import reclaim, tell
from flyinglow.workspace.model import Selection, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.steps import TOGETHER, step_of

CHUNK = 100  # claims of one transaction
SLACK = timedelta(seconds=60)
"""An expected start that moved by less is no news: every look at a batch scheduler gives another one."""

_QUEUED = Status(State.UNPROPAGATED, Task.QUEUED)
log = structlog.get_logger(__name__)


class Claims:
    """Writes news of claims down."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    async def news(self, told: Sequence[ClaimNews]) -> None:
        """Write news down, each kind of a row in one transaction; where that fails, each alone."""
        for topic, some in groupby(told, key=lambda news: news.topic):
            lot = list(some)
            for start in range(0, len(lot), CHUNK):
                await self._write(topic, lot[start : start + CHUNK])

    async def _write(self, topic: ClaimTopic, lot: Sequence[ClaimNews]) -> None:
        try:
            gone = await self._crew.commit(f"claim.{topic}", partial(_written, lot, self._crew.now()))
        except Stopped:
            raise
        except Exception:
            log.exception("news of claims could not be written down", claims=len(lot), topic=topic.value)
            for one in lot if len(lot) > 1 else ():
                await self._write(topic, [one])
            return
        # whatever is being done to these on their nodes is not waited for: the seconds that are left are few
        self._crew.wrest({row.id: row.launch_set for row in gone})


def _written(lot: Sequence[ClaimNews], now: datetime, tx: Tx) -> list[Workspace]:
    """Write a lot down; return the workspaces that are given back from now on."""
    gone: list[Workspace] = []
    for news in lot:
        rows = tx.workspaces.select(Selection(launch_set=news.key, living=True))
        if news.topic is ClaimTopic.WAITING:
            for row in rows:
                waits(tx, row, news, now=now)
        else:
            gone += [_take(tx, row, news, now) for row in concerned(rows, news.places) if not _going(row)]
    return gone


def concerned(rows: Sequence[Workspace], places: Collection[str]) -> list[Workspace]:
    """Return which of a launch set's workspaces lose their places: of one that is being launched, all of them."""
    if not places or any(step_of(row) in TOGETHER for row in rows):
        return list(rows)
    return [row for row in rows if row.node in places]


def waits(tx: Tx, row: Workspace, news: ClaimNews, *, now: datetime) -> None:
    """Note why a queued workspace waits and when it may start, and tell when that is new."""
    starts_at = None if news.starts_in is None else now + timedelta(seconds=round(max(0.0, news.starts_in)))
    if row.status != _QUEUED or (news.reason == row.reason and not _moved(row.starts_at, starts_at)):
        return
    body = {**schedule(row, row.ends_at, news.reason), "starts_at": starts_at.isoformat() if starts_at else None}
    tell(tx, row, Topic.SCHEDULE, body, now=now, reason=news.reason, starts_at=starts_at)


def _moved(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) >= SLACK


def _take(tx: Tx, row: Workspace, news: ClaimNews, now: datetime) -> Workspace:
    if news.topic is ClaimTopic.ENDING:
        seconds = max(0.0, news.seconds or 0.0)
        ends_at = now + timedelta(seconds=seconds)
        body = {"ends_at": ends_at.isoformat(), "seconds": int(seconds), "reason": taken(row, news.reason, seconds)}
        row = tell(tx, row, Topic.WARNING, body, now=now, warned=True)
    return reclaim(tx, row, State.CANCELLED, now=now, reason=taken(row, news.reason, news.seconds or 0.0))


def _going(row: Workspace) -> bool:
    return row.task is Task.RECLAIMING

"""When leases begin and end: how an end is moved, and what a schedule event tells.

Where the places are the back-end's for a limited time only, it is asked before an end is moved to later, and the wait
is on the reactor. Nothing changes when it refuses; for an earlier end it is not asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flyinglow.backend.abilities import Extends
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError
from flyinglow.workspace import ending
from flyinglow.workspace.lifecycle import tell
from flyinglow.workspace.model import Stamp, Topic, Workspace
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.quotas import Judge
from flyinglow.workspace.states import FINAL, Task
from flyinglow.workspace.terms import Terms

Find = Callable[[Tx], Sequence[Workspace]]
"""Finds the workspaces whose ends are to be moved, all or none; raises what the caller is to see."""


class Ends:
    """Moves the ends of leases; ``backend`` is asked when it is one that ``Extends``."""

    def __init__(self, store: Store, now: Now, terms: Terms, backend: object = None) -> None:
        self._store = store
        self._now = now
        self._terms = terms
        self._holder = backend if isinstance(backend, Extends) else None

    def move(self, find: Find, at: datetime, judge: Judge | None = None) -> datetime | Awaitable[datetime]:
        """Move the ends of these workspaces and return the time granted, or an awaitable of it (on the reactor).

        Raises InvalidError for a time that has passed, DeniedError beyond the site's maximum duration or beyond what
        the back-end can hold (the message names the longest possible end), ConflictError when a lease has not begun or
        is over. ``judge`` says whether the owner's quota leaves room, and raises DeniedError.
        """

        def act(tx: Tx) -> datetime:
            now = self._now()
            rows = find(tx)
            self._judged(tx, rows, at, judge)
            return max(_moved(tx, row, at, now) for row in rows)

        if self._holder is None:
            return self._store.call(act)
        later = self._store.view(lambda tx: self._later(tx, find(tx), at, judge))
        return self._asked(self._holder, later, act, at) if later else self._store.call(act)

    def _judged(self, tx: Tx, rows: Sequence[Workspace], at: datetime, judge: Judge | None) -> None:
        """Have a new end judged, when nothing else is wrong with it."""
        now = self._now()
        for row in rows:
            self._check(row, at, now)
        if judge is not None:
            judge(tx, rows, at)

    def _later(self, tx: Tx, rows: Sequence[Workspace], at: datetime, judge: Judge | None) -> list[str]:
        """Return the launch sets that would have to be held for longer."""
        self._judged(tx, rows, at, judge)
        return sorted({row.launch_set for row in rows if row.ends_at is not None and row.ends_at < at})

    async def _asked(
        self, holder: Extends, sets: Sequence[str], act: Callable[[Tx], datetime], at: datetime
    ) -> datetime:
        for launch_set in sets:
            now = self._now()
            try:
                await holder.extend(launch_set, (at - now).total_seconds())
            except DeniedError as error:
                raise _refused(error, now) from error
        return await self._store.run(act)

    def _check(self, row: Workspace, at: datetime, now: datetime) -> None:
        if row.state in FINAL or row.task is Task.RECLAIMING:
            raise ConflictError(f"the lease of workspace {row.name} is over")
        if row.ends_at is None:
            raise ConflictError(f"the lease of workspace {row.name} has not begun: its end is set when it is placed")
        if at <= now:
            raise InvalidError("a lease cannot end in the past: use Destroy to end it now")
        soonest = ending.soonest(row, now)
        if soonest is not None and at < soonest:
            raise InvalidError(
                f"workspace {row.name} is saved before its end, which takes {row.save_lead} s: the earliest end is now "
                f"{soonest.isoformat(timespec='seconds')}"
            )
        longest = self._terms.max_duration
        if at > row.accepted_at + timedelta(seconds=longest):
            figures = {"duration.asked": int((at - row.accepted_at).total_seconds()), "duration.max": longest}
            raise DeniedError(f"a lease of this site ends at most {longest} s after it was accepted", figures)


def _moved(tx: Tx, row: Workspace, at: datetime, now: datetime) -> datetime:
    body = schedule(row, at, "the end of the lease was moved")
    tell(tx, row, Topic.SCHEDULE, body, now=now, ends_at=at, warned=False)
    return at


def _refused(error: DeniedError, now: datetime) -> DeniedError:
    """Return the back-end's refusal with the longest possible end, where it named one."""
    longest = error.figures.get("longest")
    if longest is None:
        return error
    end = (now + timedelta(seconds=longest)).isoformat(timespec="seconds")
    return DeniedError(f"the lease can end at {end} at the latest: {error.message}", error.figures)


def schedule(row: Workspace, ends_at: datetime | None, reason: str) -> dict[str, str | None]:
    """Return the body of a schedule event."""
    started = row.stamps.get(Stamp.STARTED) or row.stamps.get(Stamp.SCHEDULED)
    saves_at = replace(row, ends_at=ends_at).saves_at
    return {
        **({"saves_at": saves_at.isoformat()} if saves_at else {}),
        "reason": reason,
        "starts_at": started.isoformat() if started else None,
        "ends_at": ends_at.isoformat() if ends_at else None,
    }

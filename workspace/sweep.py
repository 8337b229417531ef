"""What time alone brings about: ends of leases, warnings before them, launches that waited too long, forgetting.

Each kind of sweep is one function of a transaction and the time; the timer that calls them is the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flyinglow.workspace import ending, quotas
from flyinglow.workspace.lifecycle import reclaim, tell
from flyinglow.workspace.model import Kind, ResourceKey, Selection, Topic, Workspace
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.terms import Terms

_QUEUED = Status(State.UNPROPAGATED, Task.QUEUED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How many workspaces each sweep concerned, and how many events the last one."""

    expired: int
    overdue: int
    saving: int = 0
    warned: int
    purged: int
    events: int


class Sweeper:
    """Runs all sweeps, each in its own transaction; called on the reactor, every second or so.

    ``committed`` is called with the name of each step of ``lifecycle.STEPS`` that changed something.
    """

    def __init__(
        self, store: Store, now: Now, terms: Terms, *, committed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store = store
        self._now = now
        self._terms = terms
        self._committed = committed
        self._begun: dict[str, datetime] = {}  # id -> when its saving was begun last

    async def run(self) -> SweepReport:
        """Sweep once."""
        terms = self._terms
        return SweepReport(
            expired=await self._commit("sweep.expire", lambda tx: expire(tx, self._now())),
            saving=await self._save(),
            overdue=await self._commit("sweep.overdue", lambda tx: overdue(tx, self._now())),
            warned=await self._commit("sweep.warn", lambda tx: warn(tx, self._now(), terms.warn_before)),
            purged=await self._commit("sweep.purge", lambda tx: purge(tx, self._now(), terms.retain)),
            events=await self._commit("sweep.forget", lambda tx: forget(tx, self._now(), terms.keep_events)),
        )

    async def _save(self) -> int:
        """Begin to save for ends that are near, what failed a while ago too."""
        now = self._now()
        pause = timedelta(seconds=self._terms.save_retry)
        self._begun = {key: at for key, at in self._begun.items() if now - at < pause}
        begun: list[str] = []

        def begin(tx: Tx) -> int:
            begun[:] = ending.begin(tx, now, self._begun)
            return len(begun)

        count = await self._commit("sweep.save", begin)
        self._begun.update(dict.fromkeys(begun, now))
        return count

    async def _commit(self, step: str, sweep: Callable[[Tx], int]) -> int:
        count = await self._store.run(sweep)
        if count:
            self._committed(step)
        return count


def expire(tx: Tx, now: datetime) -> int:
    """Begin to give back every workspace whose lease has ended; return how many."""
    due = [row for row in tx.workspaces.select(Selection(living=True, ends_before=now)) if not _going(row)]
    for row in due:
        reclaim(tx, row, State.ENDED, now=now, reason=ending.over(row))
    return len(due)


def overdue(tx: Tx, now: datetime) -> int:
    """Take back launches that did not begin in time, and ensembles that stayed open for too long; return how many.

    A launch set shares its fate: one member's deadline is all the members'.
    """
    waiting = tx.workspaces.select(Selection(living=True, with_task=True, start_before=now))
    late = sorted({row.launch_set for row in waiting if row.status == _QUEUED})
    due = [(row, State.CANCELLED, why) for launch_set in late for row, why in _short(_queued(tx, launch_set))]
    for ensemble in tx.collections.select(Kind.ENSEMBLE, open_until=now):
        tx.collections.write(ensemble, replace(ensemble, open=False))
        left = [] if ensemble.key.id in late else _queued(tx, ensemble.key.id)
        due += [(row, State.ENDED, "the ensemble was not done in time") for row in left]
    for row, target, why in due:
        reclaim(tx, row, target, now=now, reason=why)
    return len(due)


def _short(rows: Sequence[Workspace]) -> list[tuple[Workspace, str]]:
    """Return the members of a launch set that waited too long, each with what was short when it was last heard of."""
    by = min(row.start_by for row in rows if row.start_by is not None).isoformat(timespec="seconds")
    waited = next((row.reason for row in rows if row.reason), "its resources were not free in time")
    reason = f"not started by {by}: {waited}"
    return [(row, reason) for row in rows]


def warn(tx: Tx, now: datetime, lead: int) -> int:
    """Tell once that a lease will end, or is shut down to be saved, in ``lead`` seconds or less; return of how many.

    A lease shorter than twice the lead is warned of at half its time, not at its very beginning.
    """
    near = ending.nearing(tx, now + timedelta(seconds=lead))
    due = [row for row in near if not row.warned and not _going(row) and _is_near(row, now)]
    for row in due:
        if row.ends_at is not None:
            body = {"ends_at": row.ends_at.isoformat(), "seconds": int((row.ends_at - now).total_seconds())}
            body |= {"saves_at": row.saves_at.isoformat()} if row.saves_at else {}
            tell(tx, row, Topic.WARNING, body, now=now, warned=True)
    return len(due)


def _is_near(row: Workspace, now: datetime) -> bool:
    down = row.saves_at or row.ends_at
    if row.ends_at is None or down is None:
        return False
    return row.ends_at > now and down - now <= timedelta(seconds=row.duration / 2)


def purge(tx: Tx, now: datetime, retain: int) -> int:
    """Forget launch sets of which every workspace has been over for ``retain`` seconds; return how many workspaces.

    Their groups, ensembles and leases go with them.
    """
    old = tx.workspaces.select(Selection(living=False, finished_before=now - timedelta(seconds=retain)))
    gone: list[Workspace] = []
    for launch_set in sorted({row.launch_set for row in old}):
        mine = [row for row in old if row.launch_set == launch_set]
        if len(tx.workspaces.select(Selection(launch_set=launch_set))) == len(mine):
            gone += mine
    if gone:
        tx.guests.purge([row.id for row in gone])
        tx.workspaces.purge([row.id for row in gone])
        tx.collections.purge(_wholes(gone))
        tx.shares.purge([row.id for row in gone] + [key.id for key in _wholes(gone)])
        tx.leases.purge(sorted({row.lease_id for row in gone}))
    return len(gone)


def forget(tx: Tx, now: datetime, keep: int) -> int:
    """Forget events that were handed on and delivered and are older than ``keep`` seconds; return how many.

    What was used long ago is forgotten, too.
    """
    quotas.forget(tx, now)
    return tx.outbox.purge(now - timedelta(seconds=keep))


def _queued(tx: Tx, launch_set: str) -> list[Workspace]:
    return [row for row in tx.workspaces.select(Selection(launch_set=launch_set, living=True)) if row.status == _QUEUED]


def _going(row: Workspace) -> bool:
    return row.task is Task.RECLAIMING


def _wholes(rows: Iterable[Workspace]) -> list[ResourceKey]:
    groups = {ResourceKey(Kind.GROUP, row.group_id) for row in rows if row.group_id}
    # What others joined to an ensemble outlives it by itself, and its launch set has the ensemble's id still.
    ensembles = {ResourceKey(Kind.ENSEMBLE, each) for row in rows for each in (row.ensemble_id, row.launch_set) if each}
    return sorted(groups | ensembles)

"""The only place that writes a workspace's state.

``advance`` checks the step against the table ``NEXT``, writes the row by compare-and-set, and adds the event that tells
of it, all in the caller's transaction (design, section 4). ``record`` writes facts that are not states (stamps, failed
attempts, the end of the lease). ``STEPS`` lists every step that the service commits on its own account, so that the
crash tests can stop it after each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from flyinglow.nodectl.errors import BrokenError
from flyinglow.workspace.model import Event, GuestReport, GuestStatus, Stamp, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, State, Status, Task, may_follow

STEPS: Mapping[str, str] = {
    "launch.begin": "(Unpropagated, Queued) -> Propagating: orders are about to go to the nodes",
    "launch.created": "(Unpropagated, Propagating) -> (Propagated, Starting) or Propagated: every VM is on its node",
    "launch.started": "(Propagated, Starting) -> Running or Paused; with a ready barrier it waits for the guests",
    "launch.back_out": "the whole launch set -> Reclaiming, target Corrupted, or Cancelled when its places were taken",
    "context.report": "what a guest reported is written down, and that it is ready",
    "barrier.counted": "how many guests of a launch set have said that they are ready is written down",
    "barrier.passed": "(Propagated, Starting) -> Running: all guests of the launch set have said that they are ready",
    "barrier.failed": "a guest reported an error, or said nothing in time: the launch set -> Reclaiming",
    "claim.waiting": "why a queued launch set waits and when it may start is written down",
    "claim.ending": "the warning that places go away is written, and their workspaces -> Reclaiming, target Cancelled",
    "claim.lost": "workspaces whose places are gone -> Reclaiming, target Cancelled",
    "operation.done": "Starting, Pausing, Resuming, Rebooting, ShuttingDown -> what the node says, or back to rest",
    "reclaim.done": "Reclaiming -> Ended, Corrupted or Cancelled; capacity and addresses given back",
    "reclaim.failed": "one more failed clean-up counted; everything stays held",
    "observe.found": "what a node told unasked, or a reconcile pass found, is written down",
    "sweep.expire": "leases whose end has come -> Reclaiming, target Ended",
    "sweep.save": "leases that end soon, and whose disk is to be saved -> ShuttingDown or Saving",
    "sweep.overdue": "launches that waited longer than they may -> Reclaiming, target Cancelled",
    "sweep.warn": "the warning before a lease's end is written",
    "sweep.purge": "what was kept readable long enough is forgotten",
    "sweep.forget": "events that were delivered long ago are forgotten",
}


def advance(
    tx: Tx,
    row: Workspace,
    new: Status,
    *,
    now: datetime,
    reason: str | None = None,
    target: State | None = None,
    stamps: Sequence[Stamp] | Mapping[Stamp, datetime] = (),
    **facts: Any,
) -> Workspace:
    """Take ``row`` to ``new`` and add the state event; return the row as stored.

    ``target`` is the state that a task heads for and is dropped at rest. ``reason`` None keeps the row's reason on the
    way out (from Reclaiming on) and clears it elsewhere. ``stamps`` are reached now, or when the mapping says.
    ``facts`` are further columns. A final state also sets
    ``finished_at`` and adds the termination event. Raises BrokenError for a step that ``NEXT`` does not allow, and
    StaleError when somebody else wrote the row first.
    """
    if not may_follow(row.status, new):
        raise BrokenError(f"workspace {row.tag} cannot go from {_words(row.status)} to {_words(new)}")
    over = new.state in FINAL
    wanted = replace(
        row,
        state=new.state,
        task=new.task,
        target=target if new.task is not None else None,
        reason=_reason(row, reason),
        finished_at=now if over else None,
        stamps={**_kept(row, new), **_times(stamps, now)},
        sequence=row.sequence + (2 if over else 1),
        **facts,
    )
    stored = tx.workspaces.write(row, wanted)
    tx.outbox.add(_told(row, stored, now))
    return stored


def _kept(row: Workspace, new: Status) -> Mapping[str, datetime]:
    """Return the stamps that still hold: a guest that is down, or is booted anew, has not said that it is ready."""
    down = (
        new.state in {State.UNPROPAGATED, State.PROPAGATED, State.TRANSPORT_READY} and new.task is not Task.RECLAIMING
    )
    if row.status == new or (not down and new.task is not Task.REBOOTING):
        return row.stamps
    return {stamp: at for stamp, at in row.stamps.items() if stamp != Stamp.READY}


def _times(stamps: Sequence[Stamp] | Mapping[Stamp, datetime], now: datetime) -> dict[str, datetime]:
    times = stamps if isinstance(stamps, Mapping) else dict.fromkeys(stamps, now)
    return {str(stamp): at for stamp, at in times.items()}


def _told(row: Workspace, stored: Workspace, now: datetime) -> list[Event]:
    """Return the events of the step from ``row`` to ``stored``."""
    events = [state_event(stored, now=now, previous=row.state, sequence=row.sequence + 1)]
    if stored.state in FINAL:
        body = {"name": stored.name, "reason": stored.reason, "at": now.isoformat(), "state": str(stored.state)}
        events.append(event(stored, Topic.TERMINATION, body, now=now))
    return events


def reclaim(tx: Tx, row: Workspace, target: State, *, now: datetime, reason: str = "", **facts: Any) -> Workspace:
    """Begin to give back all that ``row`` holds and head for the final state ``target``; one already on its way stays.

    The first reason wins: a workspace that failed and is then destroyed still ends as Corrupted.
    """
    if row.state in FINAL or row.task is Task.RECLAIMING:
        return record(tx, row, **facts) if facts else row
    new = Status(row.state, Task.RECLAIMING)
    return advance(tx, row, new, now=now, reason=reason, target=target, attempts=0, **facts)


def ready(tx: Tx, row: Workspace, *, now: datetime) -> Workspace:
    """Stamp that its guest said it is ready and tell, once a boot; return the row as stored.

    What is told is a state event of the same status, with ``ready`` true and the reason "ready".
    """
    if Stamp.READY in row.stamps:
        return row
    stamps = {**row.stamps, str(Stamp.READY): now}
    stored = tx.workspaces.write(row, replace(row, stamps=stamps, sequence=row.sequence + 1))
    told = state_event(stored, now=now, previous=row.state)
    tx.outbox.add([replace(told, body={**told.body, "ready": True, "reason": "ready"})])
    return stored


def under_way(tx: Tx, row: Workspace, words: str, *, now: datetime, tell: bool) -> Workspace:
    """Write how far a transfer for its VM is, and tell of it if that is due; return the row as stored.

    What is told is a state event of the same status, with how far it is for a reason.
    """
    if not tell:
        return record(tx, row, reason=words)
    stored = tx.workspaces.write(row, replace(row, reason=words, sequence=row.sequence + 1))
    tx.outbox.add([state_event(stored, now=now, previous=row.state)])
    return stored


def reported(tx: Tx, row: Workspace, report: GuestReport, *, now: datetime) -> Workspace:
    """Tell what its guest reported, and stamp that it is ready if it says so; return the row as stored.

    What is told is a state event of the same status, with the report in ``guest``.
    """
    fine = report.status is GuestStatus.OK
    stamps = {str(Stamp.READY): now, **row.stamps} if fine else row.stamps
    stored = tx.workspaces.write(row, replace(row, stamps=stamps, sequence=row.sequence + 1))
    told = state_event(stored, now=now, previous=row.state)
    guest = {"status": str(report.status), "message": report.message, "at": now.isoformat()}
    tx.outbox.add([replace(told, body={**told.body, "ready": fine, "guest": guest})])
    return stored


def record(tx: Tx, row: Workspace, **facts: Any) -> Workspace:
    """Write columns that are not the state and tell nobody; return the row as stored."""
    return tx.workspaces.write(row, replace(row, **facts))


def tell(tx: Tx, row: Workspace, topic: Topic, body: Mapping[str, Any], *, now: datetime, **facts: Any) -> Workspace:
    """Write columns that are not the state together with the event that tells of them; return the row as stored."""
    stored = tx.workspaces.write(row, replace(row, sequence=row.sequence + 1, **facts))
    tx.outbox.add([event(stored, topic, {"name": row.name, **body}, now=now)])
    return stored


def event(
    row: Workspace, topic: Topic, body: Mapping[str, Any], *, now: datetime, sequence: int | None = None
) -> Event:
    """Return an event of this workspace, numbered as the row's newest unless told otherwise."""
    return Event(
        key=row.key,
        sequence=row.sequence if sequence is None else sequence,
        topic=topic,
        owner=row.owner,
        at=now,
        body=dict(body),
        group_id=row.group_id,
        ensemble_id=row.ensemble_id,
    )


def state_event(row: Workspace, *, now: datetime, previous: State | None = None, sequence: int | None = None) -> Event:
    """Return the state event of a row as it stands; a member's notification and a fold are made from it."""
    body = {
        "name": row.name,
        "state": str(row.state),
        "task": str(row.task) if row.task else None,
        "target": str(row.target) if row.target else None,
        "reason": row.reason,
        "previous": str(previous) if previous else None,
    }
    return event(row, Topic.STATE, body, now=now, sequence=sequence)


def _reason(row: Workspace, reason: str | None) -> str:
    if reason is not None:
        return reason
    return row.reason if row.task is Task.RECLAIMING else ""


def _words(status: Status) -> str:
    return f"({status.state}, {status.task or '-'})"

"""When a lease begins and ends: how its end is moved, and what a schedule event tells."""

from __future__ import annotations

from datetime import datetime, timedelta

from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError
from flyinglow.workspace.lifecycle import tell
from flyinglow.workspace.model import Stamp, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, Task
from flyinglow.workspace.terms import Terms


def move_end(tx: Tx, row: Workspace, at: datetime, *, now: datetime, terms: Terms) -> datetime:
    """Set the end of one workspace's lease, tell of it, and return it; raises as ``WorkspaceService.set_end``."""
    if row.state in FINAL or row.task is Task.RECLAIMING:
        raise ConflictError(f"the lease of workspace {row.name} is over")
    if row.ends_at is None:
        raise ConflictError(f"the lease of workspace {row.name} has not begun: its end is set when it is placed")
    if at <= now:
        raise InvalidError("a lease cannot end in the past: use Destroy to end it now")
    latest = row.accepted_at + timedelta(seconds=terms.max_duration)
    if at > latest:
        figures = {"duration.asked": int((at - row.accepted_at).total_seconds()), "duration.max": terms.max_duration}
        raise DeniedError(f"a lease of this site ends at most {terms.max_duration} s after it was accepted", figures)
    body = schedule(row, at, "the end of the lease was moved")
    tell(tx, row, Topic.SCHEDULE, body, now=now, ends_at=at, warned=False)
    return at


def schedule(row: Workspace, ends_at: datetime | None, reason: str) -> dict[str, str | None]:
    """Return the body of a schedule event."""
    started = row.stamps.get(Stamp.STARTED) or row.stamps.get(Stamp.SCHEDULED)
    return {
        "reason": reason,
        "starts_at": started.isoformat() if started else None,
        "ends_at": ends_at.isoformat() if ends_at else None,
    }

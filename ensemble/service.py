"""The workspace ensemble service (section 2.1 of the paper): different workspaces and groups, launched together.

An ensemble made by one Create is complete at once. An *open* one is added to by further Creates; its workspaces hold
their places, and none is launched before Done.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from flyinglow.access.identity import Identity
from flyinglow.group.members import Whole
from flyinglow.group.service import CollectionService
from flyinglow.nodectl.errors import ConflictError, DeniedError, UnknownError
from flyinglow.workspace import membership
from flyinglow.workspace.context_roles import Has, check_roles
from flyinglow.workspace.ends import schedule
from flyinglow.workspace.lifecycle import reclaim, record, tell
from flyinglow.workspace.model import Kind, Selection, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, State, Status, Task
from flyinglow.workspace.visibility import find_workspace


class EnsembleService(CollectionService):
    """The shared verbs of collections, and Done."""

    kind = Kind.ENSEMBLE

    def done(self, caller: Identity, resource: str) -> Whole:
        """Close an open ensemble: it is launched, as one set, and its leases begin now.

        Raises ConflictError when it is not open (any more), InvalidError when a member requires a role that nobody
        provides; then it stays open.
        """

        def act(tx: Tx) -> Whole:
            whole = self._find(tx, caller, "done", resource)
            if not whole.row.open:
                raise ConflictError(f"ensemble {whole.row.name} is done already")
            check_roles(Has(member.part, member.context) for member in whole.members)
            now = self._now()
            row = tx.collections.write(whole.row, replace(whole.row, open=False, ends_at=None))
            for member in whole.members:
                _begin(tx, member, now)
            return replace(whole, row=row)

        return self._store.call(act)

    def add(self, caller: Identity, resource: str, member_id: str) -> Workspace:
        """Take a workspace that stands alone into an ensemble that is done; return it.

        From then on it is shown with the others, and what is asked of the whole is asked of it: so it must be its
        owner's, and the ensemble's owner's (WS-ServiceGroup 1.2, section 6). Raises UnknownError and DeniedError for
        the ensemble, ConflictError for a workspace that cannot be added.
        """

        def act(tx: Tx) -> Workspace:
            whole = self._find(tx, caller, "join", resource)
            row = _alone(tx, caller, member_id)
            _check_room(whole, row)
            tx.collections.write(whole.row, whole.row)  # no second one of the same name beside this
            added = record(tx, row, ensemble_id=whole.row.key.id)
            membership.joined(tx, whole.row.key.id, [added], self._now())
            return added

        return self._store.call(act)

    def _part(self, tx: Tx, whole: Whole, member: Workspace, now: datetime) -> None:
        """Let what others joined go on by itself; what waited for this ensemble to be done would never begin."""
        if whole.row.open:
            reclaim(tx, member, State.ENDED, now=now, reason="the ensemble was destroyed before it was done")
        else:
            record(tx, member, ensemble_id=None)

    def _forget(self, tx: Tx, whole: Whole, now: datetime) -> None:
        """Forget the groups inside, too, but for those of which workspaces are left."""
        super()._forget(tx, whole, now)
        for group in tx.collections.select(Kind.GROUP, ensemble_id=whole.row.key.id):
            left = tx.workspaces.select(Selection(group_id=group.key.id, visible=True))
            if left and not whole.row.open:
                tx.collections.write(group, replace(group, ensemble_id=None))
            elif group.destroyed_at is None and not left:
                tx.collections.write(group, replace(group, destroyed_at=now))


def _alone(tx: Tx, caller: Identity, member_id: str) -> Workspace:
    """Return a workspace of the caller's own that can be added."""
    try:
        row = find_workspace(tx, caller, "add", member_id)
    except (UnknownError, DeniedError) as error:
        raise ConflictError(error.message) from None
    if row.group_id is not None or row.ensemble_id is not None:
        raise ConflictError(f"workspace {row.name} is a member of another whole already")
    if row.state in FINAL or row.task is Task.RECLAIMING:
        raise ConflictError(f"the lease of workspace {row.name} is over")
    return row


def _check_room(whole: Whole, row: Workspace) -> None:
    name = whole.row.name
    if whole.row.open:
        raise ConflictError(f"ensemble {name} is not done yet: add to it by Create, so that all are launched together")
    if whole.row.owner != row.owner:
        raise ConflictError(f"ensemble {name} is another's: what is added later must be its owner's")
    if all(member.state in FINAL for member in whole.members):
        raise ConflictError(f"ensemble {name} is over")
    if row.name in {member.name for member in whole.members} | {member.part for member in whole.members}:
        raise ConflictError(f"ensemble {name} has a member called {row.name} already")


def _begin(tx: Tx, member: Workspace, now: datetime) -> None:
    """Start the lease's clock; the schedule event is also what makes the provisioner look."""
    if member.status != Status(State.UNPROPAGATED, Task.QUEUED):
        return
    ends_at = now + timedelta(seconds=member.duration) if member.node is not None else None
    body = schedule(member, ends_at, "the ensemble is complete")
    tell(tx, member, Topic.SCHEDULE, body, now=now, ends_at=ends_at)

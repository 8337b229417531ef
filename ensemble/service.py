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
from flyinglow.nodectl.errors import ConflictError
from flyinglow.workspace.context_roles import Has, check_roles
from flyinglow.workspace.ends import schedule
from flyinglow.workspace.lifecycle import reclaim, record, tell
from flyinglow.workspace.model import Kind, Selection, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task


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


def _begin(tx: Tx, member: Workspace, now: datetime) -> None:
    """Start the lease's clock; the schedule event is also what makes the provisioner look."""
    if member.status != Status(State.UNPROPAGATED, Task.QUEUED):
        return
    ends_at = now + timedelta(seconds=member.duration) if member.node is not None else None
    body = schedule(member, ends_at, "the ensemble is complete")
    tell(tx, member, Topic.SCHEDULE, body, now=now, ends_at=ends_at)

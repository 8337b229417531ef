"""What a lessee can change of a lease that he has: names, and what becomes of the disks at the end.

The wish is a ``Change``; it is carried out whole or not at all, in one transaction, for one workspace or for all
members of a group or ensemble. A name is what the services call a resource: a guest that runs keeps the host name that
it was started with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import ConflictError, InvalidError
from flyinglow.workspace import ending, targets
from flyinglow.workspace.catalogue import Catalogue
from flyinglow.workspace.ends import schedule
from flyinglow.workspace.lifecycle import record, tell
from flyinglow.workspace.model import Collection, EndAction, Selection, Topic, Workspace
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.states import FINAL, State, Task
from flyinglow.workspace.terms import Terms
from flyinglow.workspace.visibility import find_workspace

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
"""What a resource can be called: a DNS label in small letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A wish: ``name`` None leaves the name, ``end_action`` None the end. ``save_to`` goes with Save.

    For several workspaces ``save_to`` has ``{name}`` or ``{tag}`` in it.
    """

    name: str | None = None
    end_action: EndAction | None = None
    save_to: str | None = None


class Changes:
    """Carries changes out. Blocking; called on a worker thread."""

    def __init__(self, store: Store, now: Now, terms: Terms, catalogue: Catalogue) -> None:
        self._store = store
        self._now = now
        self._terms = terms
        self._catalogue = catalogue

    def workspace(self, caller: Identity, resource: str, change: Change) -> None:
        """Change a workspace.

        Raises UnknownError, InvalidError for what cannot be, and ConflictError for a name that another member of the
        same lease has, a lease that is over, or a disk that is being saved.
        """

        def act(tx: Tx) -> None:
            row = find_workspace(tx, caller, "set", resource)
            if change.name is not None and change.name != row.name:
                _check_name(change.name, {each.name for each in _siblings(tx, row)})
                row = record(tx, row, name=change.name)
            self._end(tx, [row], change)

        self._store.call(act)

    def collection(self, find: Callable[[Tx], tuple[Collection, Sequence[Workspace]]], change: Change) -> None:
        """Change a group or ensemble, which ``find`` finds with its members; all members' end, or none's.

        Raises as ``workspace``, and what ``find`` raises.
        """

        def act(tx: Tx) -> None:
            row, members = find(tx)
            if change.name is not None and change.name != row.name:
                _check_name(change.name, ())
                tx.collections.write(row, replace(row, name=change.name))
            self._end(tx, [each for each in members if each.state not in FINAL], change)

        self._store.call(act)

    def _end(self, tx: Tx, rows: Sequence[Workspace], change: Change) -> None:
        if change.end_action is None:
            return
        if not rows:
            raise ConflictError("the lease is over: there is nothing left to end")
        if change.end_action is EndAction.SAVE:
            targets.check(change.save_to, several=len(rows) > 1)
        elif change.save_to:
            raise InvalidError("SaveTo goes with EndAction Save")
        now = self._now()
        for row in rows:
            self._end_one(tx, row, change, now)

    def _end_one(self, tx: Tx, row: Workspace, change: Change, now: datetime) -> None:
        _check_free(row)
        saves = change.end_action is EndAction.SAVE
        facts: dict[str, Any] = {
            "end_action": change.end_action,
            "end_uri": targets.target(change.save_to or "", row) if saves else None,
            "save_lead": self._lead(row, now) if saves else 0,
        }
        if all(getattr(row, name) == value for name, value in facts.items()):
            return
        booked = replace(row, **facts)
        body = schedule(booked, row.ends_at, "what becomes of its disk at the end was changed")
        tell(tx, row, Topic.SCHEDULE, body, now=now, **facts)

    def _lead(self, row: Workspace, now: datetime) -> int:
        """Return how long before its end saving begins; raises InvalidError where it cannot be done in time."""
        needed = ending.needed(row.disks, self._catalogue, self._terms)
        if needed is None:
            raise InvalidError(
                f"workspace {row.name}: there is nothing to save: no disk made from an image is written to"
            )
        left = timedelta(seconds=row.duration) if row.ends_at is None else row.ends_at - now
        if left <= timedelta(seconds=needed):
            seconds = int(left.total_seconds())
            figures = {"duration.left": seconds, "duration.saving": needed}
            message = f"workspace {row.name}: saving its disk takes {needed} s, and {seconds} s of its lease are left"
            raise InvalidError(message, figures)
        return needed


def _check_name(name: str, taken: Sequence[str] | set[str]) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidError(f"{name[:60]!r}: a name has 1 to 40 lower-case letters, digits and inner hyphens")
    if name in taken:
        raise ConflictError(f"another member is called {name}: names are unique among the members of a lease")


def _check_free(row: Workspace) -> None:
    if row.state in FINAL or row.task is Task.RECLAIMING:
        raise ConflictError(f"the lease of workspace {row.name} is over")
    if row.task is Task.SAVING or (row.task is not None and row.target is State.TRANSPORT_READY):
        raise ConflictError(f"the disk of workspace {row.name} is being saved")


def _siblings(tx: Tx, row: Workspace) -> list[Workspace]:
    """Return the other members of what it is a member of."""
    if row.ensemble_id is not None:
        found = tx.workspaces.select(Selection(ensemble_id=row.ensemble_id, visible=True))
    elif row.group_id is not None:
        found = tx.workspaces.select(Selection(group_id=row.group_id, visible=True))
    else:
        found = []
    return [each for each in found if each.id != row.id]

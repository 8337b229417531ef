"""Telling groups and ensembles of members that come and go (WS-ServiceGroup 1.2, section 6).

Nobody is told of the members that a group has from the beginning, nor when all of it is destroyed: there is no one who
could have subscribed, or nothing left to ask about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic, Workspace
from flyinglow.workspace.ports import Tx

_DESTROYED = "destroyed by its owner"


def joined(tx: Tx, ensemble_id: str, rows: Sequence[Workspace], now: datetime) -> None:
    """Tell an ensemble that these workspaces were added to it."""
    _tell(tx, ResourceKey(Kind.ENSEMBLE, ensemble_id), rows, "added", now)


def gone(tx: Tx, ensemble_id: str, rows: Sequence[Workspace], now: datetime) -> None:
    """Tell an ensemble that these workspaces were destroyed together, as a group of it."""
    _tell(tx, ResourceKey(Kind.ENSEMBLE, ensemble_id), rows, "removed", now, _DESTROYED)


def left(tx: Tx, row: Workspace, now: datetime) -> None:
    """Tell what a workspace is a member of that it was destroyed."""
    for kind, whole in ((Kind.GROUP, row.group_id), (Kind.ENSEMBLE, row.ensemble_id)):
        if whole is not None:
            _tell(tx, ResourceKey(kind, whole), [row], "removed", now, _DESTROYED)


def _tell(tx: Tx, key: ResourceKey, members: Sequence[Workspace], change: str, now: datetime, reason: str = "") -> None:
    row = tx.collections.get(key)
    if row is None or row.destroyed_at is not None:
        return
    tx.collections.write(row, replace(row, sequence=row.sequence + len(members)))
    events = [
        Event(
            key=key,
            sequence=row.sequence + number,
            topic=Topic.MEMBERSHIP,
            owner=row.owner,
            at=now,
            body={
                "name": row.name,
                "change": change,
                "member": member.id,
                "member_name": member.name,
                "reason": reason,
            },
        )
        for number, member in enumerate(members, start=1)
    ]
    tx.outbox.add(events)

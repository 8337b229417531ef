"""Completes the timing receipt: when the news that a workspace reached its initial state was delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.workspace.lifecycle import record
from flyinglow.workspace.model import Event, Kind, Stamp, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from flyinglow.workspace.ports import Tx


def stamp_notified(tx: Tx, events: Sequence[Event], at: datetime) -> None:
    """Stamp ``notified`` on each workspace whose first news of being where it was asked to be was delivered."""
    for event in events:
        if event.key.kind is Kind.WORKSPACE and event.topic is Topic.STATE and not event.body.get("task"):
            _stamp(tx, event, at)


def _stamp(tx: Tx, event: Event, at: datetime) -> None:
    row = tx.workspaces.get(event.key.id)
    if row is None or Stamp.NOTIFIED in row.stamps or event.body.get("state") != row.initial_state:
        return
    record(tx, row, stamps={**row.stamps, Stamp.NOTIFIED: at})

"""The end action Save: when it begins, that it begins and is tried again, and what an end says of the disk.

Saving is part of the lease: it begins so long before the end that a disk of its size is sent in time at the site's
rate. A save that fails is begun again until the end; at the end what was not saved is lost, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from flyinglow.workspace.catalogue import Catalogue, image_of
from flyinglow.workspace.lifecycle import advance
from flyinglow.workspace.model import Disk, EndAction, Selection, Workspace
from flyinglow.workspace.outcomes import OUTCOMES, Do, Verb
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.terms import Terms

UNKNOWN_MB = 2048
"""What a disk is taken to have when the catalogue does not say."""


def lead(size_mb: int, terms: Terms) -> int:
    """Return how many seconds before its end a lease begins to save a disk of this size (MB; 0: nobody knows)."""
    return terms.save_margin + math.ceil((size_mb or UNKNOWN_MB) / terms.save_rate)


def needed(disks: Iterable[Disk], catalogue: Catalogue, terms: Terms) -> int | None:
    """Return how many seconds before its end a lease with these disks begins to save; None: there is nothing to save.

    What is saved is the first disk that is made from an image and written to.
    """
    images = (image_of(disk, catalogue) for disk in disks if not disk.read_only)
    saved = next((image for image in images if image is not None and image.source is not None), None)
    return None if saved is None else lead(saved.size_mb, terms)


def begin(tx: Tx, now: datetime, resting: Collection[str] = ()) -> list[str]:
    """Begin to shut down and save what is to be saved from now on; return the ids.

    ``resting`` are the ids of those whose saving failed a moment ago. One to which something else is being done takes
    its turn when that is over.
    """
    rows = tx.workspaces.select(Selection(living=True, saved_at_end=True, with_task=False))
    due = [row for row in rows if row.id not in resting and _is_due(row, now)]
    return [_begin(tx, row, now).id for row in due]


def _is_due(row: Workspace, now: datetime) -> bool:
    at, end = row.saves_at, row.ends_at
    return at is not None and end is not None and at <= now < end and isinstance(OUTCOMES[Verb.SAVE, row.status], Do)


def _begin(tx: Tx, row: Workspace, now: datetime) -> Workspace:
    outcome = OUTCOMES[Verb.SAVE, row.status]
    task = outcome.task if isinstance(outcome, Do) else Task.SAVING
    end = "" if row.ends_at is None else row.ends_at.isoformat(timespec="seconds")
    reason = f"its lease ends at {end}: it is shut down to be saved"
    new, target = Status(row.state, task), State.TRANSPORT_READY
    return advance(tx, row, new, now=now, reason=reason, target=target, attempts=0, save_uri=row.end_uri)


def nearing(tx: Tx, before: datetime) -> list[Workspace]:
    """Return the living workspaces that end, or are shut down to be saved, by then."""
    ending = tx.workspaces.select(Selection(living=True, ends_before=before))
    saved = tx.workspaces.select(Selection(living=True, saved_at_end=True))
    early = [row for row in saved if row.saves_at is not None and row.saves_at <= before]
    return list({row.id: row for row in (*ending, *early)}.values())


def over(row: Workspace) -> str:
    """Return the reason of a lease that ends by itself."""
    if row.end_action is not EndAction.SAVE:
        return "the lease has ended"
    if row.state is State.TRANSPORT_READY:
        return f"the lease has ended; its disk was {said(row)}"
    why = row.reason or "it was not shut down and sent in time"
    return f"the lease has ended, and its disk was not saved and is lost: {why}"


def taken(row: Workspace, reason: str, seconds: float) -> str:
    """Return the reason of a lease whose place is taken away in so many seconds, with what that means for its disk."""
    if row.end_action is not EndAction.SAVE or row.state in {State.UNPROPAGATED, State.TRANSPORT_READY}:
        return reason
    needed = f"{int(seconds)} s are left, {row.save_lead} s are needed" if seconds else "no time is left"
    return f"{reason}; its disk is not saved and is lost: {needed}"


def said(row: Workspace) -> str:
    """Return where a disk was saved to and its checksum, in words."""
    place, checksum = row.saved.get("target"), row.saved.get("sha256")
    return f"saved to {place}, sha256 {checksum}" if place else "saved"


def soonest(row: Workspace, now: datetime) -> datetime | None:
    """Return the earliest end that leaves the time to save; None where nothing is to be saved any more."""
    if row.end_action is not EndAction.SAVE or row.task is Task.SAVING or row.target is State.TRANSPORT_READY:
        return None
    return None if row.state is State.TRANSPORT_READY else now + timedelta(seconds=row.save_lead)

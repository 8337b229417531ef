"""The timing receipt: when each step of a lease was reached, and how long each took, in milliseconds."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from flyinglow.cli import showing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from flyinglow.cli.session import Session
    from flyinglow.client import Properties

STAMPS: Final = (
    "accepted", "queued", "scheduled", "launched", "adapted", "image", "network", "started", "ready", "notified",
)  # fmt: skip
"""The order in which they are reached; a lease that did not wait was never queued."""


def in_order(timing: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return the stamps that were reached, in their order; those of a newer service come last."""
    return {stamp: timing[stamp] for stamp in (*STAMPS, *timing) if stamp in timing}


def since_accepted(timing: Mapping[str, datetime]) -> dict[str, int]:
    """Return for each stamp the milliseconds since the request was accepted."""
    reached = in_order(timing)
    start = next(iter(reached.values()), None)
    return {} if start is None else {stamp: _milliseconds(start, at) for stamp, at in reached.items()}


def since_before(timing: Mapping[str, datetime]) -> dict[str, int]:
    """Return for each stamp but the first the milliseconds since the one before."""
    reached = list(in_order(timing).items())
    return {stamp: _milliseconds(before, at) for (_, before), (stamp, at) in pairwise(reached)}


def as_json(receipts: Sequence[Properties]) -> dict[str, Any]:
    """Return the receipts by name: the stamps, and the milliseconds in both ways of counting."""
    return {
        "receipt": {each.name: showing.as_json(in_order(each.timing)) for each in receipts},
        "milliseconds": {
            each.name: {"since_accepted": since_accepted(each.timing), "since_before": since_before(each.timing)}
            for each in receipts
        },
    }


def show(session: Session, receipts: Sequence[Properties]) -> None:
    """Print two tables, a line a workspace: when each step was reached, and how long it took."""
    stamps = list(in_order({stamp: at for each in receipts for stamp, at in each.timing.items()}))
    _table(session, receipts, stamps, since_accepted, "Milliseconds after the request was accepted")
    _table(session, receipts, stamps[1:], since_before, "Milliseconds after the step before")


def _table(
    session: Session,
    receipts: Sequence[Properties],
    stamps: Sequence[str],
    count: Callable[[Mapping[str, datetime]], Mapping[str, int]],
    title: str,
) -> None:
    counted = [(each.name, count(each.timing)) for each in receipts]
    rows = ((name, *(str(figures.get(stamp, "")) for stamp in stamps)) for name, figures in counted)
    session.table(("name", *stamps), rows, title=title)


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)

"""What guests were stopped from sending, for the site's administrator: who, where, since when, and how often.

One entry a workspace, the newest alarm last; the oldest goes when there are ``KEPT``, so that no guest fills the store,
nor pushes the others' entries out by trying again. It is written with the event that tells the lessee, and outlives
the service, the workspace and its VM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from flyinglow.workspace.ports import Tx

KEPT = 200
MARK = "alarms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Times are ISO 8601 in UTC; ``counts`` are packets since the VM was connected, by kind."""

    tag: str
    workspace: str
    owner: str
    node: str
    sent: str
    counts: Mapping[str, int]
    first: str
    last: str


def alarms(tx: Tx) -> list[Alarm]:
    """Return what is known, the newest alarm last."""
    text = tx.marks.get(MARK)
    return [Alarm(**item) for item in json.loads(text)] if text else []


def note(tx: Tx, alarm: Alarm) -> None:
    """Write an alarm down, in place of what was known of the same workspace."""
    known = {old.tag: old for old in alarms(tx)}
    old = known.pop(alarm.tag, None)
    kept = [*known.values(), alarm if old is None else replace(alarm, first=old.first)][-KEPT:]
    tx.marks.put(MARK, json.dumps([_plain(one) for one in kept], separators=(",", ":")))


def _plain(alarm: Alarm) -> dict[str, Any]:
    return {**asdict(alarm), "counts": dict(alarm.counts)}

"""What the service and its pilots wrote down of a lease: stamps of workspaces, reports of pilots. Only read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MICRO = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """One workspace: seconds since 1970, and ``seconds`` by the node's own clock."""

    key: str
    accepted: float
    started: float
    finished: float | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report of a pilot: when it sent it and when the service stored it."""

    sent: float
    stored: float
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """One slot's life. ``reports`` by their kind."""

    slot: str
    requested: float
    reports: dict[str, Report]


class Records:
    """The service's store, opened anew for each look."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(question, values).fetchall()
        finally:
            connection.close()

    def at_rest(self) -> bool:
        """Say whether nothing lives any more."""
        slots = self._ask("SELECT count(*) FROM slots WHERE over_at IS NULL")
        rows = self._ask("SELECT count(*) FROM workspaces WHERE finished_at IS NULL")
        return not slots[0][0] and not rows[0][0]

    def slots(self, launch_set: str, kind: str) -> int:
        """Return how many of a claim's slots have reported so."""
        words = "SELECT count(DISTINCT t.slot) FROM trails t JOIN slots s ON s.id = t.slot JOIN pilot_jobs j"
        return int(self._ask(f"{words} ON j.tag = s.job WHERE j.claim = ? AND t.kind = ?", launch_set, kind)[0][0])

    def launch_set(self, workspace: str) -> str:
        """Return the launch set of a workspace."""
        return str(self._ask("SELECT launch_set FROM workspaces WHERE id = ?", workspace)[0][0])

    def places(self) -> list[str]:
        """Return the places of the workspaces that live."""
        return [place for (place,) in self._ask("SELECT node FROM workspaces WHERE finished_at IS NULL")]

    def vms(self, keys: Sequence[str]) -> list[Vm]:
        """Return these workspaces."""
        marks = ", ".join("?" * len(keys))
        question = f"SELECT id, accepted_at, stamps, finished_at, seconds FROM workspaces WHERE id IN ({marks})"
        return [_vm(*row) for row in self._ask(question, *keys)]

    def pilots(self, launch_set: str) -> list[Pilot]:
        """Return the slots of a launch set."""
        question = "SELECT s.id, j.requested_at FROM slots s JOIN pilot_jobs j ON j.tag = s.job WHERE j.claim = ?"
        return [self._pilot(*row) for row in self._ask(question, launch_set)]

    def _pilot(self, slot: str, requested: int) -> Pilot:
        rows = self._ask("SELECT kind, sent_ms, at, body FROM trails WHERE slot = ? ORDER BY position", slot)
        reports: dict[str, Report] = {}
        for kind, sent, stored, body in rows:
            reports.setdefault(kind, Report(sent=sent / 1e3, stored=stored / _MICRO, body=json.loads(body)))
        return Pilot(slot=slot, requested=requested / _MICRO, reports=reports)


def _vm(key: str, accepted: int, stamps: str, finished: int | None, seconds: str) -> Vm:
    known = json.loads(stamps)
    return Vm(
        key=key,
        accepted=accepted / _MICRO,
        started=known["started"] / _MICRO,
        finished=None if finished is None else finished / _MICRO,
        seconds=json.loads(seconds),
    )

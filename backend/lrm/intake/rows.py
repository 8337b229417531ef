"""The rows that reports are judged by, looked up for many at once, and what became of a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.model import Trail
from flyinglow.nodectl.errors import InvalidError
from flyinglow.pilot.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx
    from flyinglow.backend.lrm.states import PilotSaid, SlotState
    from flyinglow.nodectl.errors import FlyingLowError
    from flyinglow.pilot.messages import Message

MAX_BODY = 64 << 10  # bytes of a report that is kept
_LARGEST = 2**31 - 1
_LATEST = 2**53  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotChange:
    """A report that was stored. ``job`` and ``slot`` are the rows as they are now, ``before`` the slot's state so far.

    ``contended``: another pilot says hello for a slot that is bound; it may be that the job was started anew.
    """

    job: PilotJob
    slot: Slot
    said: PilotSaid
    body: Mapping[str, Any]
    before: SlotState
    contended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A message that is to be stored, with the text and the MAC it came in."""

    message: Message
    text: str
    mac: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a report; ``known`` is False for one that nobody is to learn anything from."""

    slot: Slot | None
    job: PilotJob | None = None
    error: FlyingLowError | None = None
    change: SlotChange | None = None
    end: bool = False  # whoever said it has to give up
    known: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """A job and one of its slots; no slot: the job has no such rank."""

    job: PilotJob
    slot: Slot | None

    def key(self, kind: str) -> str:
        """Return the key by which such a message is signed; empty: there is none, so nothing is rightly signed."""
        return self.job.secret if kind == Kind.HELLO.value else self.slot.secret if self.slot else ""


def look(tx: LrmTx, ids: Iterable[str]) -> dict[str, Known]:
    """Return what is known of these slots; those of no job are not in it."""
    wanted = sorted(set(ids))
    jobs = {tag: tx.jobs.get(tag) for tag in {slot_id.rpartition(".")[0] for slot_id in wanted}}
    slots = {slot.id: slot for slot in tx.slots.select(ids=wanted)}
    found = {slot_id: jobs[slot_id.rpartition(".")[0]] for slot_id in wanted}
    return {slot_id: Known(job, slots.get(slot_id)) for slot_id, job in found.items() if job is not None}


class Desk:
    """One transaction at work: the rows as they are by now, and the trail that is being written."""

    def __init__(self, tx: LrmTx, ids: Iterable[str], now: datetime) -> None:
        self.now = now
        self.known = look(tx, ids)
        self._tx = tx
        self._trail: list[Trail] = []

    def write(self, old: Slot, new: Slot) -> Slot:
        """Write a slot and return it as it is stored."""
        stored = self._tx.slots.write(old, new)
        self.known[stored.id] = Known(self.known[stored.id].job, stored)
        return stored

    def note(self, said: Message, effect: str, body: Mapping[str, Any] | None = None) -> None:
        """Keep a report as it came."""
        self._trail.append(
            Trail(
                slot=said.slot,
                epoch=said.epoch,
                sequence=said.sequence,
                kind=said.kind.value,
                at=self.now,
                sent_ms=said.time_ms,
                body=said.body if body is None else body,
                effect=effect,
            )
        )

    def trail(self, slot: Slot) -> list[Trail]:
        """Return what is kept of a slot, what this transaction is about to keep included."""
        return self._tx.trails.of(slot.id) + [row for row in self._trail if row.slot == slot.id]

    def finish(self) -> None:
        """Write the trail."""
        if self._trail:
            self._tx.trails.add(self._trail)


def check(said: Message) -> None:
    """Raise InvalidError for what no store could keep, so that one bad report cannot spoil those stored with it."""
    for name in ("sequence", "epoch", "turn"):
        if not 0 <= getattr(said, name) <= _LARGEST:
            raise InvalidError(f"{name} is out of range")
    if not 0 <= said.time_ms <= _LATEST:
        raise InvalidError("time_ms is out of range")
    try:
        text = json.dumps([said.node, said.incarnation, said.body], ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError) as error:  # half a character, or what is not a number
        raise InvalidError(f"a report cannot be kept: {error}") from error
    if size > MAX_BODY:
        raise InvalidError(f"a report has {size} bytes, where {MAX_BODY} are allowed")
    if "\\u0000" in text or len(said.node) > 255 or len(said.incarnation) > 64:  # noqa: PLR2004 - names' usual limits
        raise InvalidError("a report has a name that is too long, or a zero character")

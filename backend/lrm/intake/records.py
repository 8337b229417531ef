"""What reports make of slots: one transaction for all that are in, bytes already known to be signed.

A report is taken once: (epoch, sequence) says whether it is new. What changes nothing is kept in the trail all the
same, so that a slot's whole life can be read later, its late and its void words included.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.intake.hello import greet
from flyinglow.backend.lrm.intake.rows import Desk, Outcome, Report, SlotChange
from flyinglow.backend.lrm.states import SLOT_NEXT, SLOT_OVER, PilotSaid, SlotState
from flyinglow.nodectl.errors import ConflictError, DeniedError
from flyinglow.pilot.messages import Kind, Message, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx

MOST_REPORTS = 1000
"""Reports of one slot in one epoch; a pilot has less than ten to make."""

_LONGEST_REASON = 500  # characters


def store(tx: LrmTx, reports: Sequence[Report], now: datetime, mint: Callable[[], str]) -> list[Outcome]:
    """Take reports in their order; return what became of each. Nothing may be acknowledged before this is committed."""
    desk = Desk(tx, [report.message.slot for report in reports], now)
    outcomes = [_one(desk, report, mint) for report in reports]
    desk.finish()
    return outcomes


def _one(desk: Desk, report: Report, mint: Callable[[], str]) -> Outcome:
    said = report.message
    known = desk.known.get(said.slot)
    key = known.key(said.kind.value) if known else ""
    if known is None or not key or not _signed(key, report):  # the rows may have changed since it was let in
        return Outcome(None, known=False)
    if said.kind is Kind.HELLO:
        return greet(desk, known.job, known.slot, said, mint)
    return _report(desk, known.job, known.slot, said) if known.slot else Outcome(None, known=False)


def _signed(key: str, report: Report) -> bool:
    try:
        verify(key, report.text, report.mac)
    except DeniedError:
        return False
    return True


def _report(desk: Desk, job: PilotJob, slot: Slot, said: Message) -> Outcome:
    if said.epoch < slot.epoch:
        return _void(desk, job, slot, said)
    if error := stranger(slot, said):
        return Outcome(slot, job, error=error)
    if said.sequence > MOST_REPORTS:
        return Outcome(slot, job, error=DeniedError(f"slot {slot.id} has made more than {MOST_REPORTS} reports"))
    if said.sequence != slot.sequence + 1:
        return Outcome(slot, job)  # known already, or one is missing: the acknowledgement says which
    after = _after(slot, job, said, desk.now)
    desk.note(said, _effect(slot, after))
    stored = desk.write(slot, after)
    change = SlotChange(job=job, slot=stored, said=PilotSaid(said.kind.value), body=said.body, before=slot.state)
    return Outcome(stored, job, change=change)


def stranger(slot: Slot, said: Message) -> DeniedError | ConflictError | None:
    """Return why this message, signed with the slot's key, is not from the pilot that the slot is bound to."""
    if said.epoch != slot.epoch:
        return ConflictError(
            f"slot {slot.id} is in epoch {slot.epoch}, the message of {said.epoch}: the job was restarted"
        )
    if said.node != slot.node:
        return DeniedError(f"slot {slot.id} is bound to node {slot.node}, the message names {said.node}")
    if said.incarnation != slot.incarnation:
        return DeniedError(f"slot {slot.id} is held by another pilot")
    return None


def _void(desk: Desk, job: PilotJob, slot: Slot, said: Message) -> Outcome:
    if not any(
        (old.epoch, old.sequence, old.kind) == (said.epoch, said.sequence, said.kind) for old in desk.trail(slot)
    ):
        desk.note(said, f"void: the job is in epoch {slot.epoch}")
    error = ConflictError(f"slot {slot.id} is in epoch {slot.epoch}: what is said of epoch {said.epoch} is void")
    return Outcome(slot, job, error=error, end=True)


def _after(slot: Slot, job: PilotJob, said: Message, now: datetime) -> Slot:
    state = SLOT_NEXT[slot.state].get(PilotSaid(said.kind.value), slot.state)
    changes: dict[str, Any] = {"state": state, "sequence": said.sequence, "heard_at": now}
    if state is SlotState.READY and slot.state is not state:
        changes |= {"ready_at": now, "deadline": _deadline(slot, job, said.body, now)}
        changes["facts"] = {**slot.facts, "ready": said.body}
    if state in SLOT_OVER and slot.state not in SLOT_OVER:
        changes["over_at"] = now
    if reason := _reason(said):
        changes["reason"] = reason
    return replace(slot, **changes)


def _deadline(slot: Slot, job: PilotJob, body: Mapping[str, Any], now: datetime) -> datetime | None:
    """Count from now, as clocks differ; a report that was long on its way cannot name a time beyond the job's."""
    left = body.get("left")
    if isinstance(left, bool) or not isinstance(left, (int, float)) or not math.isfinite(left):
        return slot.deadline
    latest = (slot.bound_at or now) + timedelta(seconds=job.seconds)
    return min(now + timedelta(seconds=max(0.0, min(left, job.seconds))), latest)


def _reason(said: Message) -> str:
    body = said.body
    if said.kind is Kind.FAILED:
        error = body.get("error")
        message = error.get("message", "") if isinstance(error, dict) else ""
        return f"{body.get('step', 'a step')} failed: {message}"[:_LONGEST_REASON]
    if said.kind is Kind.SIGNALLED:
        return f"the batch scheduler gave notice ({body.get('signal', 'a signal')})"[:_LONGEST_REASON]
    return str(body.get("reason", ""))[:_LONGEST_REASON]


def _effect(old: Slot, new: Slot) -> str:
    return f"{old.state} -> {new.state}" if old.state is not new.state else f"none: it is {old.state}"

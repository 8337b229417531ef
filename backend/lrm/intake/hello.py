"""The first report of a pilot: it binds a slot to a node and to that one pilot, and fetches the slot's key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.intake.rows import Outcome, SlotChange
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_NEXT, SLOT_OVER, PilotSaid, SlotState
from flyinglow.nodectl.errors import ConflictError, DeniedError, FlyingLowError, InvalidError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flyinglow.backend.lrm.intake.rows import Desk
    from flyinglow.backend.lrm.model import PilotJob, Slot, Trail
    from flyinglow.pilot.messages import Message

_NO_EFFECT = "none"  # how the effect of a report begins that changed nothing


def greet(desk: Desk, job: PilotJob, slot: Slot | None, said: Message, mint: Callable[[], str]) -> Outcome:
    """Bind the slot, or say again what was said (its answer was lost), or refuse.

    The epoch that a hello names is the one its script was written in: the answer tells the one it is in.
    """
    if slot is None:
        return Outcome(None, job, error=InvalidError(f"job {job.tag} has no slot {said.slot}"), end=True)
    if not said.incarnation or not said.node or said.sequence > 1:
        return Outcome(slot, job, error=InvalidError("a hello names its node and its incarnation, and comes first"))
    if slot.incarnation == said.incarnation and slot.state is not SlotState.UNBOUND:
        return _again(job, slot, said)
    if job.state in JOB_OVER or slot.state in SLOT_OVER:
        return _refused(desk, job, slot, said, ConflictError(f"slot {slot.id} is over: {slot.reason or job.reason}"))
    if slot.state is not SlotState.UNBOUND:
        return _contended(desk, job, slot, said)
    if _has_held(desk, slot, said):
        return _refused(desk, job, slot, said, DeniedError(f"this pilot held slot {slot.id} in an earlier epoch"))
    return _bound(desk, job, slot, said, mint)


def _bound(desk: Desk, job: PilotJob, slot: Slot, said: Message, mint: Callable[[], str]) -> Outcome:
    after = replace(
        slot,
        state=SLOT_NEXT[slot.state][PilotSaid.HELLO],
        node=said.node,
        incarnation=said.incarnation,
        secret=mint(),
        sequence=said.sequence,
        reason="",
        facts=said.body,
        bound_at=desk.now,
        heard_at=desk.now,
    )
    _note(desk, said, f"{slot.state} -> {after.state} in epoch {slot.epoch}")
    stored = desk.write(slot, after)
    change = SlotChange(job=job, slot=stored, said=PilotSaid.HELLO, body=said.body, before=slot.state)
    return Outcome(stored, job, change=change)


def _again(job: PilotJob, slot: Slot, said: Message) -> Outcome:
    if slot.node != said.node:
        return Outcome(slot, job, error=DeniedError(f"slot {slot.id} is bound to node {slot.node}, not to {said.node}"))
    return Outcome(slot, job)


def _contended(desk: Desk, job: PilotJob, slot: Slot, said: Message) -> Outcome:
    """Let neither pilot take the slot by saying so: whether the job was started anew is known to the LRM alone."""
    if not _has_been(desk, slot, said):
        _note(desk, said, f"{_NO_EFFECT}: another pilot holds the slot on {slot.node}")
    error = TransientError(f"another pilot holds slot {slot.id}; the batch scheduler is asked whether it was restarted")
    change = SlotChange(job=job, slot=slot, said=PilotSaid.HELLO, body=said.body, before=slot.state, contended=True)
    return Outcome(slot, job, error=error, change=change, end=job.unwanted)


def _refused(desk: Desk, job: PilotJob, slot: Slot, said: Message, error: FlyingLowError) -> Outcome:
    if not _has_been(desk, slot, said):
        _note(desk, said, f"{_NO_EFFECT}: {error.message}")
    return Outcome(slot, job, error=error, end=True)


def _note(desk: Desk, said: Message, effect: str) -> None:
    desk.note(said, effect, {**said.body, "node": said.node, "incarnation": said.incarnation})


def _has_been(desk: Desk, slot: Slot, said: Message) -> bool:
    return any(True for _ in _hellos(desk, slot, said))


def _has_held(desk: Desk, slot: Slot, said: Message) -> bool:
    """Say whether this pilot was bound to the slot; one that was only put off was not."""
    return any(not row.effect.startswith(_NO_EFFECT) for row in _hellos(desk, slot, said))


def _hellos(desk: Desk, slot: Slot, said: Message) -> Iterator[Trail]:
    rows = (row for row in desk.trail(slot) if row.kind == said.kind.value)
    return (row for row in rows if row.body.get("incarnation") == said.incarnation)

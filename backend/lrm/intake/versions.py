"""A pilot of another version: its first message is refused, and why is kept for those who wait for its node.

It is signed with the job's key, so it is believed to be one; but what else it says cannot be read by this version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.intake.rows import SlotChange, look
from flyinglow.backend.lrm.model import Trail
from flyinglow.backend.lrm.states import JOB_OVER, PilotSaid, SlotState
from flyinglow.nodectl.versions import disagreement, range_of
from flyinglow.pilot.messages import SPOKEN, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flyinglow.backend.lrm.ports import LrmTx
    from flyinglow.pilot.messages import Message

_SHOWN = 80  # characters of a word that is not understood


def other_version(fields: Mapping[str, Any], software: str) -> str:
    """Return what to say of a first message of another version; empty for any other message."""
    if fields.get("kind") != Kind.HELLO.value or fields.get("version") in SPOKEN:
        return ""
    theirs = range_of(fields.get("body"), fields.get("version"))
    pilot = f"the pilot on {_word(fields, 'node')} ({_word(fields, 'software')})"
    return disagreement(SPOKEN, theirs, f"this service ({software})", pilot)


def agreed(said: Message) -> int:
    """Return the version in which a pilot is to be answered: the highest common one, once it has told its range."""
    theirs = range_of(said.body, said.version) if said.kind is Kind.HELLO else None
    return (theirs and SPOKEN.common(theirs)) or said.version


def keep(tx: LrmTx, fields: Mapping[str, Any], words: str, now: datetime) -> SlotChange | None:
    """Write why the pilot was refused into the slot that nobody holds yet, once; None: there is none to tell."""
    slot_id = str(fields.get("slot", ""))
    known = look(tx, [slot_id]).get(slot_id)
    if known is None or known.slot is None or known.job.state in JOB_OVER:
        return None
    slot = known.slot
    if slot.state is not SlotState.UNBOUND or slot.reason:
        return None
    body = {name: _word(fields, name) for name in ("node", "incarnation", "software", "version")}
    trail = Trail(
        slot=slot.id,
        epoch=slot.epoch,
        sequence=0,
        kind=Kind.HELLO.value,
        at=now,
        sent_ms=0,
        body=body,
        effect=f"none: {words}",
    )
    tx.trails.add([trail])
    stored = tx.slots.write(slot, replace(slot, reason=words))
    return SlotChange(job=known.job, slot=stored, said=PilotSaid.HELLO, body=body, before=slot.state)


def _word(fields: Mapping[str, Any], name: str) -> str:
    text = str(fields.get(name, ""))[:_SHOWN].encode("utf-8", "replace").decode()
    return "".join(each if each.isprintable() else "?" for each in text)

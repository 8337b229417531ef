"""Where pilots' messages come in: bytes in, bytes out, no socket.

Nothing in a message is believed before its MAC is known to be right, a wrong key looks like an unknown slot, and a
report is stored before it is acknowledged. Answers, refusals too, are signed with the key that the message came with.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from flyinglow.backend.abilities import Reply
from flyinglow.backend.lrm.intake.batch import Batch
from flyinglow.backend.lrm.intake.records import store, stranger
from flyinglow.backend.lrm.intake.rows import Known, Outcome, Report, SlotChange, check, look
from flyinglow.backend.lrm.intake.versions import agreed, keep, other_version
from flyinglow.backend.lrm.lines.polls import Polls
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER
from flyinglow.nodectl.errors import DeniedError, FlyingLowError, InvalidError, TransientError
from flyinglow.pilot.messages import MAX_BYTES, OLDEST, SPOKEN, Answer, Kind, Standing, message, opened, seal, verify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from flyinglow.backend.lrm.lines.channel import Lines
    from flyinglow.backend.lrm.lines.polls import Orders
    from flyinglow.backend.lrm.model import Slot
    from flyinglow.backend.lrm.ports import Ledger
    from flyinglow.pilot.messages import Message

__all__ = ["Intake", "SlotChange"]

log = structlog.get_logger(__name__)

_SLOT = re.compile(r"[a-z][a-z0-9]{0,31}\.(0|[1-9][0-9]{0,5})", re.ASCII)
_MOST_KNOWN = 4096  # slots whose rows are kept at hand
_NO_KEY = "00" * 32
_REFUSED = Reply(403, b"This message is refused.\n")


class Intake:
    """Implements ``Doorway``, and takes reports from a spool as well.

    ``heard`` is told, on the reactor, what was stored, after its commit and before anyone is answered. ``standing``
    says from memory how things are for a slot's id; that its job is not wanted or that it is over is added here.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Any,
        now: Callable[[], datetime],
        heard: Callable[[Sequence[SlotChange]], None],
        standing: Callable[[str], Standing],
        software: str,
        *,
        lines: Lines,
        random: Callable[[int], bytes] = os.urandom,
        ticket: Callable[[Slot], Awaitable[dict[str, str]]] | None = None,
    ) -> None:
        """``ticket`` signs one for a slot; None: there are none."""
        self._ticket = ticket
        self._ledger = ledger
        self._now = now
        self._heard = heard
        self._told = standing
        self._software = software
        self._lines = lines
        self._mint = lambda: random(32).hex()
        self._polls = Polls(clock, random(8).hex(), self._standing)
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._under_way = 0  # transactions
        self._changed: set[str] = set()  # slots that changed meanwhile: what those bring of them may be old
        self._lookups: Batch[str, Known | None] = Batch(self._look)
        self._reports: Batch[Report, Outcome] = Batch(self._store)
        lines.ring, lines.dropped = self._polls.ring, self._polls.forget

    async def answer(self, body: bytes, peer: str) -> Reply:
        """Take one message in; see ``Doorway``. Held back only when it is a poll."""
        try:
            return await self._answer(body)
        except TransientError as error:
            log.warning("a pilot's message could not be taken in", peer=peer, error=error.message)
            return Reply(503, b"The service cannot take this in now; send it again.\n")

    async def take(self, line: bytes) -> bool:
        """Take in a report that came by another way, unanswered; False when it could not be stored now."""
        try:
            reply = await self._answer(line, may_poll=False)
        except TransientError:
            return False
        if reply.status != 200:  # noqa: PLR2004 - OK
            log.warning("a report from the spool is refused", status=reply.status)
        return True

    def wake(self, slot_ids: Iterable[str]) -> None:
        """Look at these slots anew, and answer their polls: a row or a standing has changed."""
        for slot_id in slot_ids:
            self._known.pop(slot_id, None)
            if self._under_way:
                self._changed.add(slot_id)
            self._polls.ring(slot_id)

    def stop(self) -> None:
        """Answer all polls that are held back, and hold none any more."""
        self._polls.stop()

    async def _answer(self, body: bytes, *, may_poll: bool = True) -> Reply:
        if len(body) > MAX_BYTES:
            return Reply(413, b"This message is too large.\n")
        try:
            fields, text, mac = opened(body)
        except InvalidError as error:
            return Reply(400, f"{error.message}; {self._software} speaks {SPOKEN}.\n".encode())
        kind = str(fields.get("kind", ""))
        known, key = await self._authentic(str(fields.get("slot", "")), kind, text, mac)
        if known is None:
            return _REFUSED
        version = OLDEST
        try:
            said = message(fields)
            version = agreed(said)
            made = await self._served(said, known, Report(message=said, text=text, mac=mac), may_poll=may_poll)
        except InvalidError as error:
            log.warning("a pilot's message is refused", slot=fields["slot"], error=error.message)
            await self._note_version(fields)
            made = _refusal(InvalidError(f"{error.message}; the service is {self._software}"))
        except TransientError:
            raise
        except FlyingLowError as error:
            made = _refusal(error)
        if made is None:
            return _REFUSED
        made = replace(made, session=self._polls.session, software=self._software, version=version)
        return Reply(200, seal(made, key, mac))

    async def _note_version(self, fields: Mapping[str, Any]) -> None:
        """Have those who wait for a slot read why its pilot was refused, when that is its version."""
        words, now = other_version(fields, self._software), self._now()
        if not words:
            return
        with self._remembering() as remember:
            change = await self._ledger.run(lambda tx: keep(tx, fields, words, now), step="lrm.reports")
            remember({change.slot.id: Known(change.job, change.slot)} if change else {})
        self._tell([change] if change else [])

    async def _authentic(self, slot_id: str, kind: str, text: str, mac: str) -> tuple[Known | None, str]:
        """Return what is known of the slot and the key, when the key is right; looks twice, as keys change."""
        for recall in (self._recalled, self._found):
            found = await recall(slot_id)
            key = found.key(kind) if found else ""
            try:
                verify(key or _NO_KEY, text, mac)  # also for nobody: an unknown slot takes no less time
            except DeniedError:
                continue
            if key:
                return found, key
        return None, ""

    async def _recalled(self, slot_id: str) -> Known | None:
        return self._known.get(slot_id)

    async def _found(self, slot_id: str) -> Known | None:
        return await self._lookups.add(slot_id) if _SLOT.fullmatch(slot_id) else None

    async def _served(self, said: Message, known: Known, report: Report, *, may_poll: bool) -> Answer | None:
        if said.kind not in (Kind.POLL, Kind.SAID, Kind.TICKET):
            check(said)
            return self._acknowledged(await self._reports.add(report), said)
        slot = known.slot
        if slot is None:
            return None
        if error := stranger(slot, said):
            raise error
        if said.kind is Kind.TICKET:
            return await self._signed(slot)
        orders: Any = ()
        if said.kind is Kind.SAID:
            self._listen(said, slot)
        elif may_poll:
            orders = await self._polls.ask(said, self._fetch(slot))
            slot = ((await self._recalled(slot.id) or await self._found(slot.id)) or known).slot or slot
        return Answer(slot.sequence, epoch=slot.epoch, standing=self._standing(slot.id), orders=orders)

    async def _signed(self, slot: Slot) -> Answer:
        """Sign a ticket for a slot that is wanted; for no other, so that none outlives its lease by long."""
        standing = self._standing(slot.id)
        if standing.end or slot.state in SLOT_OVER or self._ticket is None:
            raise DeniedError(f"slot {slot.id} is to be given back: there is no ticket for it")
        return Answer(slot.sequence, epoch=slot.epoch, standing=standing, ticket=await self._ticket(slot))

    def _fetch(self, slot: Slot) -> Callable[[int], Orders]:
        return (lambda _: ()) if slot.state in SLOT_OVER else self._lines.channel(slot).orders

    def _listen(self, said: Message, slot: Slot) -> None:
        lines = said.body.get("lines")
        if not isinstance(lines, list):
            raise InvalidError("what the agent said is no list of lines")
        if slot.state not in SLOT_OVER and self._polls.is_new(said):
            self._lines.channel(slot).hear(lines)

    def _acknowledged(self, outcome: Outcome, said: Message) -> Answer | None:
        if not outcome.known:
            return None
        slot, error = outcome.slot, outcome.error
        standing = self._standing(said.slot)
        if outcome.end and not standing.end:
            standing = replace(standing, end=True, reason=error.message if error else "")
        if slot is None or (error and said.kind is Kind.HELLO):
            return replace(_refusal(error), standing=standing) if error else None
        key = slot.secret if said.kind is Kind.HELLO else ""
        made = Answer(slot.sequence, key, slot.epoch, standing=standing)
        return replace(made, error=_refusal(error).error) if error else made

    def _standing(self, slot_id: str) -> Standing:
        told, known = self._told(slot_id), self._known.get(slot_id)
        if told.end or known is None:
            return told
        if known.slot and known.slot.state in SLOT_OVER:
            return replace(told, end=True, reason=told.reason or known.slot.reason)
        if known.job.unwanted or known.job.state in JOB_OVER:
            return replace(told, end=True, reason=told.reason or known.job.reason)
        return told

    async def _look(self, ids: Sequence[str]) -> Sequence[Known | None]:
        with self._remembering() as remember:
            found = await self._ledger.read(lambda tx: look(tx, ids))
            remember(found)
        return [found.get(slot_id) for slot_id in ids]

    async def _store(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        now = self._now()
        with self._remembering() as remember:
            outcomes = await self._ledger.run(lambda tx: store(tx, reports, now, self._mint), step="lrm.reports")
            remember({one.slot.id: Known(one.job, one.slot) for one in outcomes if one.slot and one.job})
        self._tell([outcome.change for outcome in outcomes if outcome.change])
        return outcomes

    def _tell(self, changes: Sequence[SlotChange]) -> None:
        try:
            if changes:
                self._heard(changes)
        except Exception:
            log.exception("what pilots reported could not be taken in")

    @contextmanager
    def _remembering(self) -> Iterator[Callable[[Mapping[str, Known]], None]]:
        self._under_way += 1
        try:
            yield self._remember
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._changed.clear()

    def _remember(self, found: Mapping[str, Known]) -> None:
        for slot_id, known in found.items():
            if slot_id in self._changed or _older(known, self._known.get(slot_id)):
                continue
            self._known[slot_id] = known
            self._known.move_to_end(slot_id)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def _older(one: Known, other: Known | None) -> bool:
    return bool(one.slot and other and other.slot and one.slot.version < other.slot.version)


def _refusal(error: FlyingLowError) -> Answer:
    return Answer(error={"kind": error.kind, "message": error.message})

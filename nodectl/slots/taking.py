"""Take slots of this node and give them back (section 3.2 of the paper), for several clients at once.

The books (``ledger``) are changed under one lock, always before the memory is: whatever is killed at whatever step, the
books say what the memory has to become, and the next one who comes sees to it. Nobody waits for memory to move, or
for a VM to end, with the lock in hand. A slot whose process is gone is undone by whoever comes next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading

from flyinglow.nodectl.errors import (
    BrokenError,
    ConflictError,
    DeniedError,
    ExhaustedError,
    FlyingLowError,
    TransientError,
)
from flyinglow.nodectl.memory.api import NodeMemory, Reading
from flyinglow.nodectl.slots.ledger import Book, Entry, Ledger, Limits
from flyinglow.nodectl.slots.ports import Guests, Pace
from flyinglow.nodectl.slots.wanted import SlotInfo, SlotSpec
from flyinglow.nodectl.vmdir import ProcessMark, StateDir

FILE = "slots.json"
LOCK = ":slots"  # no tag of a VM begins like this
POLL = 0.02
SLACK_MB = 1  # a node's figures are rounded here and there

Destroyed = tuple[list[str], SlotInfo]


class Slots:
    """The slots of one node, as one process (``me``) sees and changes them."""

    def __init__(
        self,
        state: StateDir,
        memory: NodeMemory,
        limits: Limits,
        guests: Guests,
        me: ProcessMark,
        pace: Pace,
    ) -> None:
        self.book = Book(state.path / FILE)
        self.memory = memory
        self._state = state
        self.limits = limits
        self._guests = guests
        self.me = me
        self._pace = pace
        self._sweeping = threading.Lock()

    def reserve(self, spec: SlotSpec) -> SlotInfo:
        """Take a slot and wait until its memory is there; done already when it is ours.

        Raises ExhaustedError, having changed nothing, when the node has not so much or does not get there in time, and
        ConflictError when the slot is another's.
        """
        begin = self._pace.clock()
        self.sweep(settle=False)
        while not self._entered(spec, begin):
            self._pace.sleep(POLL)
        try:
            return self._wait_for(spec.slot, begin)
        except FlyingLowError:
            with contextlib.suppress(FlyingLowError):
                self._give_back(spec.slot)
            raise

    def release(self, slot: str) -> Destroyed:
        """End a slot's VMs, then give its memory back. Done already when there is no such slot.

        Raises DeniedError for a slot of another living process, BrokenError when a VM cannot be ended: then the slot
        stays held, for memory under a running VM is not to be given away.
        """
        begin = self._pace.clock()
        with self._locked():
            ledger = self.book.read()
            base = ledger.base
            entry = ledger.entry(slot)
            if entry is not None:
                if entry.holder != self.me and entry.alive:
                    raise DeniedError(f"slot {slot} is held by process {entry.holder.pid}")
                self.book.write(ledger.with_entry(dataclasses.replace(entry, holder=self.me, ending=True)))
        destroyed = self._guests.end_slot(slot) if entry is not None else []
        if entry is not None:
            self._give_back(slot)
        return destroyed, self._settled_back(slot, base, begin)

    def sweep(self, *, settle: bool = True) -> tuple[list[str], list[str]]:
        """Undo the slots whose processes are gone, and what was left half undone. Never raises for one of them.

        Returns the ids of the slots that were undone, and a sentence for each that resists.
        """
        if not self.book.file.exists() and not self._guests.slots():
            return [], []
        ended, failed = [], []
        with self._sweeping:
            for slot in self._claim_orphans():
                try:
                    self._guests.end_slot(slot)
                    self._give_back(slot)
                    ended.append(slot)
                except FlyingLowError as error:
                    failed.append(f"slot {slot}: {error.message}")
            base = self._mend()
        if settle and base is not None:
            self._settled_back("", base, self._pace.clock())
        return ended, failed

    def clear(self, base_mb: int | None) -> list[str]:
        """Forget every slot and restore all memory, whatever the books say; ``base_mb`` counts when they say nothing.

        For an emergency, when all VMs are gone. Returns the ids of the slots. Raises what the memory's driver raises,
        and TransientError when the memory is not back in time.
        """
        begin = self._pace.clock()
        with self._locked():
            try:
                ledger = self.book.read()
            except BrokenError:
                ledger = Ledger()
            self.book.write(Ledger(ledger.base))
            self._apply(Ledger(ledger.base))
            if ledger.base is None and base_mb is not None and self.memory.read().own_mb < base_mb:
                self.memory.reserve(base_mb)
        info = self._settled_back("", ledger.base, begin)
        if not info.settled:
            raise TransientError(
                f"the node's own share is to be {info.base_mb} MiB again, and is {info.actual_mb} MiB so far"
            )
        return [entry.spec.slot for entry in ledger.slots]

    def _entered(self, spec: SlotSpec, begin: float) -> bool:
        """Write a new slot into the books and order its memory; False: look again, for something is just ending."""
        with self._locked():
            ledger = self.book.read()
            patient = self._pace.clock() - begin < self._pace.settle_seconds
            known = ledger.entry(spec.slot)
            if known is not None and not (known.ending and patient):
                self._check_ours(known, spec)
                return True
            if known is not None:
                return False
            base = ledger.base or self.memory.read()
            try:
                entry = Entry(spec, self.limits.taken(ledger, base.own_mb, spec), self.me)
            except ExhaustedError:
                if patient and any(other.ending for other in ledger.slots):
                    return False
                raise
            new = Ledger(base, ledger.slots).with_entry(entry)
            self.book.write(new)  # from here on whoever comes knows what to undo
            self._order(new, spec.slot)
        return True

    def _check_ours(self, known: Entry, spec: SlotSpec) -> None:
        if known.holder != self.me or known.ending:
            raise ConflictError(f"slot {spec.slot} is held by process {known.holder.pid}")
        if known.spec != spec:
            raise ConflictError(f"slot {spec.slot} is held already, and was asked for differently")

    def _order(self, new: Ledger, slot: str) -> None:
        try:
            self._apply(new)
        except FlyingLowError:
            before = new.without(slot)
            self.book.write(before)
            with contextlib.suppress(FlyingLowError):
                self._apply(before)
                self._forget_if_back(before)
            raise

    def _wait_for(self, slot: str, begin: float) -> SlotInfo:
        """Read back until the own share is so small that this slot, and those before it, have what they take."""
        while True:
            ledger = self.book.read()
            entry = ledger.entry(slot)
            if entry is None or ledger.base is None or entry.holder != self.me:
                raise ConflictError(f"slot {slot} was taken away while its memory was waited for")
            own = self.memory.read().own_mb
            wanted = ledger.target_mb(ledger.base.own_mb, slot)
            if own <= wanted + SLACK_MB:
                return self._info(slot, entry.taken_mb, ledger, own, begin, settled=True)
            if self._pace.clock() - begin > self._pace.settle_seconds:
                raise ExhaustedError(
                    f"the node's own share was to become {wanted} MiB and is {own} MiB after "
                    f"{self._pace.settle_seconds:g} s (configuration key settle_seconds)",
                    {"memory_mb.target": wanted, "memory_mb.actual": own},
                )
            self._pace.sleep(POLL)

    def _give_back(self, slot: str) -> None:
        """Take a slot out of the books, and let the own share grow by what it took."""
        with self._locked():
            ledger = self.book.read().without(slot)
            self.book.write(ledger)
            self._apply(ledger)
            self._forget_if_back(ledger)

    def _settled_back(self, slot: str, base: Reading | None, begin: float) -> SlotInfo:
        """Wait until the own share has grown to what it is to be, and forget the base when that is all of it."""
        while True:
            with self._locked():
                ledger = self.book.read()
                now = self.memory.read()
                self._forget_if_back(ledger)
            own = now.own_mb
            base_mb = base.own_mb if base is not None else own
            settled = own >= ledger.target_mb(base_mb) - max(SLACK_MB, now.grain_mb)
            if settled or self._pace.clock() - begin > self._pace.settle_seconds:
                shown = Ledger(base or Reading(own, ""), ledger.slots)
                return self._info(slot, 0, shown, own, begin, settled=settled)
            self._pace.sleep(POLL)

    def _claim_orphans(self) -> list[str]:
        """Note that it is us who end the slots whose processes are gone, so that nobody else does so as well.

        Slots that VMs are in and the books do not know, as after a new start of the node, are to be ended, too.
        """
        with_vms = self._guests.slots()  # before the books: no VM is made in a slot that is not in them
        with self._locked():
            ledger = self.book.read()
            strays = sorted(with_vms - {entry.spec.slot for entry in ledger.slots})
            orphans = [e for e in ledger.slots if not e.alive or (e.ending and e.holder == self.me)]
            for entry in orphans:
                ledger = ledger.with_entry(dataclasses.replace(entry, holder=self.me, ending=True))
            if orphans:
                self.book.write(ledger)
        return [entry.spec.slot for entry in orphans] + strays

    def _mend(self) -> Reading | None:
        """Order once more what somebody wrote into the books and did not come to order; return the base."""
        with self._locked():
            ledger = self.book.read()
            if ledger.base is not None:
                if self.memory.read().own_mb < ledger.target_mb(ledger.base.own_mb):
                    self._apply(ledger)
                self._forget_if_back(ledger)
        return ledger.base

    def _apply(self, ledger: Ledger) -> None:
        if ledger.base is None:
            return
        if ledger.slots:
            self.memory.reserve(ledger.target_mb(ledger.base.own_mb))
        else:
            self.memory.release(ledger.base.raw)

    def _forget_if_back(self, ledger: Ledger) -> None:
        """Forget the base when no slot is held and the own share is what it was. The lock is held."""
        if ledger.base is None or ledger.slots:
            return
        now = self.memory.read()
        if now.own_mb >= ledger.base.own_mb - SLACK_MB:
            if now.raw != ledger.base.raw:
                self.memory.release(ledger.base.raw)
            self.book.write(Ledger())

    def _info(self, slot: str, taken_mb: int, ledger: Ledger, own_mb: int, begin: float, *, settled: bool) -> SlotInfo:
        base_mb = ledger.base.own_mb if ledger.base is not None else own_mb
        seconds = round(self._pace.clock() - begin, 4)
        return SlotInfo(slot, taken_mb, base_mb, ledger.target_mb(base_mb), own_mb, settled, seconds)

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return self._state.locked(LOCK)

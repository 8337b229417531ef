"""The books of a node's slots: what its own share of memory was, and what each slot takes of it.

``base`` is written once, before anything is changed for the first slot, and forgotten when the last one is gone and the
own share is what it was. All else follows: target = base - what the slots take. A reading taken while memory moves
can so never become the base of anything. Every write reaches the disk before the next step is taken.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.memory.api import Reading
from flyinglow.nodectl.messages import encode
from flyinglow.nodectl.slots.wanted import MemoryPolicy, SlotSpec, slot_spec
from flyinglow.nodectl.vmdir import ProcessMark, read_json, write_json


@dataclass(frozen=True)
class Entry:
    """One slot: what was asked for, what it takes, whose it is, and whether it is being given back."""

    spec: SlotSpec
    taken_mb: int
    holder: ProcessMark
    ending: bool = False

    @property
    def alive(self) -> bool:
        """Whether the process that holds it, or is ending it, lives."""
        return processes.alive(self.holder)


@dataclass(frozen=True)
class Ledger:
    """The books as they stand. ``base`` None: no slot is held and nothing is to be restored."""

    base: Reading | None = None
    slots: tuple[Entry, ...] = ()

    @property
    def taken_mb(self) -> int:
        """What all slots take together."""
        return sum(entry.taken_mb for entry in self.slots)

    def entry(self, slot: str) -> Entry | None:
        """Return a slot, or None when there is none of this id."""
        return next((entry for entry in self.slots if entry.spec.slot == slot), None)

    def target_mb(self, base_mb: int, slot: str | None = None) -> int:
        """Return what the own share is to be; for one slot, what it must be for this slot and those before it."""
        taken = 0
        for entry in self.slots:
            taken += entry.taken_mb
            if entry.spec.slot == slot:
                break
        return base_mb - taken

    def with_entry(self, entry: Entry) -> Ledger:
        """Return the books with a slot added, or changed in its place."""
        if self.entry(entry.spec.slot) is None:
            return dataclasses.replace(self, slots=(*self.slots, entry))
        slots = (entry if known.spec.slot == entry.spec.slot else known for known in self.slots)
        return dataclasses.replace(self, slots=tuple(slots))

    def without(self, slot: str) -> Ledger:
        """Return the books without a slot."""
        return dataclasses.replace(self, slots=tuple(known for known in self.slots if known.spec.slot != slot))


@dataclass(frozen=True)
class Limits:
    """What a node keeps for itself, and the CPUs it has."""

    minimum_mb: int
    cpus: int

    def taken(self, ledger: Ledger, base_mb: int, spec: SlotSpec) -> int:
        """Return what a new slot would take. Raises ExhaustedError, with figures, when the node has not so much."""
        free = base_mb - ledger.taken_mb - self.minimum_mb
        asked = spec.memory_mb + (spec.margin_mb if spec.policy is MemoryPolicy.MARGIN else 0)
        if asked > free:
            raise ExhaustedError(
                f"the node has {max(free, 0)} MiB for another slot, {asked} are needed: of its {base_mb} MiB slots "
                f"take {ledger.taken_mb} and {self.minimum_mb} stay its own (configuration key minimum_node_mb)",
                {
                    "memory_mb.asked": asked,
                    "memory_mb.free": max(free, 0),
                    "memory_mb.base": base_mb,
                    "memory_mb.minimum": self.minimum_mb,
                },
            )
        cpus = self.cpus - sum(entry.spec.cpus for entry in ledger.slots)
        if spec.cpus > cpus:
            raise ExhaustedError(
                f"the node has {cpus} CPUs for another slot, {spec.cpus} are needed",
                {"cpus.asked": spec.cpus, "cpus.free": cpus},
            )
        return free if spec.policy is MemoryPolicy.ALL else asked


class Book:
    """The file that the books are kept in. Whoever writes holds the lock of the books."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Ledger:
        """Return the books; empty ones after a new start of the node, which has all its memory again.

        Raises BrokenError when they cannot be understood.
        """
        data = read_json(self.file)
        try:
            if data is None or data["boot"] != processes.boot_id():
                return Ledger()
            slots = (
                Entry(slot_spec(item["spec"]), item["taken_mb"], ProcessMark(**item["holder"]), item["ending"])
                for item in data["slots"]
            )
            return Ledger(Reading(**data["base"]), tuple(slots))
        except (TypeError, KeyError, ValueError) as error:
            raise BrokenError(f"{self.file} cannot be understood: {error!r}; kill-all makes it anew") from error

    def write(self, ledger: Ledger) -> None:
        """Keep the books, on the disk when this returns; without a base there is nothing to be kept."""
        if ledger.base is None:
            self.file.unlink(missing_ok=True)
            return
        slots = [
            {
                "spec": encode(entry.spec),
                "taken_mb": entry.taken_mb,
                "holder": dataclasses.asdict(entry.holder),
                "ending": entry.ending,
            }
            for entry in ledger.slots
        ]
        data = {"boot": processes.boot_id(), "base": dataclasses.asdict(ledger.base), "slots": slots}
        write_json(self.file, data, durable=True)

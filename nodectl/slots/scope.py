"""Which VMs whoever gives orders may see and make: those of the slot it holds, and no more than fit into it.

An agent that holds no slot has the VMs that are in none. People at the node, and what cleans it up, see all.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flyinglow.nodectl.errors import BrokenError, ConflictError, ExhaustedError
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir


@dataclass(frozen=True)
class Room:
    """What the VMs of a slot may have together."""

    slot: str
    memory_mb: int
    cpus: int


class Scope:
    """The view of one client of the node."""

    def __init__(self, *, everything: bool = False, overhead_mb: int = 0) -> None:
        self._everything = everything
        self._overhead = overhead_mb
        self._room: Room | None = None
        self._bound = False
        self._closed = False
        self._lock = threading.Lock()

    def bind(self) -> None:
        """Make and see VMs in slots only, from now on: whoever wants a slot must leave nothing outside of it."""
        with self._lock:
            self._bound = True

    def enter(self, room: Room) -> None:
        """See and make VMs of this slot from now on."""
        with self._lock:
            self._room, self._closed = room, False

    def close(self) -> None:
        """Let no more VM be made: the slot is about to be given back."""
        with self._lock:
            self._closed = True

    def leave(self) -> None:
        """Have no slot any more."""
        with self._lock:
            self._room, self._closed = None, False

    def sees(self, vm: VmDir) -> bool:
        """Tell whether a VM is this client's business."""
        room = self._room
        if self._everything:
            return True
        return not self._bound and vm.slot is None if room is None else vm.slot == room.slot

    @contextlib.contextmanager
    def admitted(self, vm: VmDir, spec: VmSpec, known: Callable[[], Sequence[VmDir]]) -> Iterator[str | None]:
        """Yield the slot a new VM is in; until the block ends, in which the VM is written down, no other is admitted.

        ``known`` returns all VMs there are, asked when no other can be admitted any more.
        Raises ExhaustedError, with figures, for a VM that does not fit, and ConflictError when the slot is ending.
        """
        with self._lock:
            if self._closed:
                raise ConflictError("the slot is being given back: no VM is made in it any more")
            if self._bound and self._room is None:
                raise ConflictError("no slot is held, and this agent makes VMs in a slot only")
            if self._room is not None:
                self._check(self._room, spec, [other for other in known() if other.tag != vm.tag])
            yield None if self._room is None else self._room.slot

    def _check(self, room: Room, spec: VmSpec, others: Sequence[VmDir]) -> None:
        specs = list(self._specs(room.slot, others))
        memory = room.memory_mb - sum(other.memory_mb + self._overhead for other in specs)
        asked = spec.memory_mb + self._overhead
        if asked > memory:
            raise ExhaustedError(
                f"slot {room.slot} has {memory} MiB left, VM {spec.tag} needs {spec.memory_mb} and its hypervisor "
                f"{self._overhead} (configuration key vm_overhead_mb)",
                {"memory_mb.asked": asked, "memory_mb.free": memory},
            )
        cpus = room.cpus - sum(other.cpus for other in specs)
        if spec.cpus > cpus:
            raise ExhaustedError(
                f"slot {room.slot} has {cpus} CPUs left, VM {spec.tag} needs {spec.cpus}",
                {"cpus.asked": spec.cpus, "cpus.free": cpus},
            )

    def _specs(self, slot: str, others: Sequence[VmDir]) -> Iterator[VmSpec]:
        for other in others:
            if other.slot == slot:
                with contextlib.suppress(BrokenError):  # only just begun, and not admitted yet
                    yield other.spec()

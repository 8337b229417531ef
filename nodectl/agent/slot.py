"""The slot that one agent holds: taken by an order, given back by another one, or when the agent's input ends."""

from __future__ import annotations

import re
import threading
from typing import Any

from flyinglow.nodectl.errors import ConflictError, InvalidError
from flyinglow.nodectl.messages import OrderName, encode
from flyinglow.nodectl.slots.ports import Admits
from flyinglow.nodectl.slots.scope import Room, Scope
from flyinglow.nodectl.slots.taking import Slots
from flyinglow.nodectl.slots.wanted import SlotSpec, slot_spec

ORDERS = frozenset({OrderName.RESERVE, OrderName.RELEASE})
SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,63}\Z")


class Tenure:
    """What an agent holds. Orders are carried out one after the other."""

    def __init__(self, slots: Slots, scope: Scope, gate: Admits | None = None) -> None:
        """``gate`` judges tickets; None: a slot is taken without one."""
        self._slots = slots
        self._scope = scope
        self._gate = gate
        self._ticket: Any = None
        if gate is not None:
            scope.bind()  # nor is anything done outside of slots
        self._held: str | None = None
        self._lock = threading.Lock()

    def expect(self) -> None:
        """Know that there will be orders for a slot, before the first of them is carried out."""
        self._scope.bind()

    def carry_out(self, name: OrderName, body: dict[str, Any]) -> dict[str, Any]:
        """Do what an order says and return the answer's body. Raises a FlyingLowError of the kind to be answered."""
        with self._lock:
            if name is OrderName.RESERVE:
                return self._reserve(*_asked(body))
            return self._release(_slot(body.get("slot")), for_good=True)

    def abandon(self) -> None:
        """Give back what is held, for nobody is left to ask for it. Raises BrokenError when a VM resists."""
        self._scope.close()
        with self._lock:
            if self._held is not None:
                self._release(self._held)

    def sweep(self) -> None:
        """Undo what agents have left behind that are no more; what resists is left to whoever comes next."""
        self._slots.sweep(settle=False)

    @property
    def needs_tickets(self) -> bool:
        """Whether an order to take a slot is to bring a ticket."""
        return self._gate is not None

    def _reserve(self, spec: SlotSpec, ticket: object) -> dict[str, Any]:
        if self._held not in (None, spec.slot):
            raise ConflictError(f"this agent holds slot {self._held} already")
        if self._gate is not None and self._held is None:
            self._ticket = self._gate.admit(spec, ticket)
        info = self._slots.reserve(spec)
        self._held = spec.slot
        self._scope.enter(Room(spec.slot, info.memory_mb, spec.cpus))
        return encode(info)

    def _release(self, slot: str, *, for_good: bool = False) -> dict[str, Any]:
        ours = slot == self._held
        if ours:
            self._scope.close()
        if ours and for_good and self._gate is not None:
            self._gate.close(self._ticket)
        destroyed, info = self._slots.release(slot)
        if ours:
            self._held = None
            self._scope.leave()
        return {"destroyed": destroyed, **encode(info)}


def _asked(body: dict[str, Any]) -> tuple[SlotSpec, object]:
    """Return what an order asks for, and the ticket that came with it."""
    return read({name: value for name, value in body.items() if name != "ticket"}), body.get("ticket")


def read(body: dict[str, Any]) -> SlotSpec:
    """Build and check a SlotSpec from its JSON form. Raises InvalidError naming the first thing wrong."""
    try:
        spec = slot_spec(body)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"not a slot's specification: {error}") from error
    _slot(spec.slot)
    for field, least in (("memory_mb", 1), ("cpus", 1), ("margin_mb", 0)):
        value = getattr(spec, field)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidError(f"{field} of a slot must be a whole number of at least {least}, not {value!r}")
    return spec


def _slot(value: object) -> str:
    if not isinstance(value, str) or not SLOT.match(value):
        raise InvalidError(f"a slot's id is up to 64 letters, digits and _.:@-, not {value!r}")
    return value

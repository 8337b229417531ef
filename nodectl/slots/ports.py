"""What the slots of a node need from outside: its VMs, and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flyinglow.nodectl.slots.wanted import SlotSpec


class Admits(Protocol):
    """Who may take a slot: see ``gate.Gate``."""

    def admit(self, spec: SlotSpec, given: object) -> Any:
        """Use up the ticket that came with an order, and return it. Raises DeniedError or BrokenError."""

    def close(self, ticket: Any) -> None:
        """Let the slot of this ticket not be taken again."""


class Guests(Protocol):
    """The VMs of a node, as far as slots are concerned."""

    def slots(self) -> set[str]:
        """Return the slots that VMs are in, whether anybody holds these slots or not."""

    def end_slot(self, slot: str) -> list[str]:
        """End all VMs of a slot and return their tags. Raises BrokenError when one of them resists."""


@dataclass(frozen=True)
class Pace:
    """How long memory may take to move, and the clock that this is measured by."""

    settle_seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

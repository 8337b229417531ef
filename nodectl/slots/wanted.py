"""The part of the messages to a node that is about slots: what an agent is to hold, and how the node then stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from flyinglow.nodectl.versions import understood


class MemoryPolicy(str, Enum):
    """How much of a node's memory a slot takes from what ran there before (section 3.2 of the paper)."""

    EXACT = "exact"  # what the slot was asked for
    MARGIN = "margin"  # that and a margin
    ALL = "all"  # all but the minimum that the node keeps


@dataclass(frozen=True)
class SlotSpec:
    """What an agent is to hold on its node until it is told otherwise, or its input ends.

    ``memory_mb`` is for VMs and the hypervisor's overhead together.
    """

    slot: str
    memory_mb: int
    cpus: int
    policy: MemoryPolicy = MemoryPolicy.EXACT
    margin_mb: int = 0


@dataclass(frozen=True)
class SlotInfo:
    """How a node's memory stands (MiB): the machine's own share before, as it is to be, as it is; and if it settled."""

    slot: str
    memory_mb: int
    base_mb: int
    target_mb: int
    actual_mb: int
    settled: bool
    seconds: float = 0.0


def slot_spec(body: dict[str, Any]) -> SlotSpec:
    """Build a SlotSpec from its JSON form. Raises TypeError or ValueError when it is not one."""
    return SlotSpec(**{**understood(SlotSpec, body), "policy": MemoryPolicy(body.get("policy", "exact"))})

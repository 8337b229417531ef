"""The nodes of the simulated scheduler: which of them a job would get, and when. Whole nodes, one job each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flyinglow.backend.lrm.model import Component


@dataclass(frozen=True, slots=True)
class Machine:
    """What one node has."""

    memory_mb: int
    cpus: int


def fitting(components: Sequence[Component], free: Mapping[str, Machine]) -> tuple[str, ...]:
    """Return nodes for all components in their order, the smallest that do; empty when there are not enough."""
    left = sorted(free, key=lambda name: (free[name].memory_mb, free[name].cpus, name))
    taken: dict[int, list[str]] = {}
    # the largest choose first, or a small one might take the only node that is large enough
    for number in sorted(range(len(components)), key=lambda index: -components[index].memory_mb):
        wanted = components[number]
        able = [name for name in left if _holds(free[name], wanted)][: wanted.nodes]
        if len(able) < wanted.nodes:
            return ()
        taken[number] = able
        left = [name for name in left if name not in able]
    return tuple(name for number in range(len(components)) for name in taken[number])


def _holds(machine: Machine, wanted: Component) -> bool:
    return machine.memory_mb >= wanted.memory_mb and machine.cpus >= wanted.cpus


def ready_in(
    components: Sequence[Component],
    free: Mapping[str, Machine],
    machines: Mapping[str, Machine],
    ends: Sequence[tuple[float, Sequence[str]]],
) -> float | None:
    """Return in how many seconds a job could start when running ones use up their limits; None: never so."""
    known = dict(free)
    if fitting(components, known):
        return 0.0
    for seconds, nodes in sorted(ends):
        known.update({name: machines[name] for name in nodes})
        if fitting(components, known):
            return max(0.0, seconds)
    return None

"""What VMs come to as slots and jobs: overheads and the margin counted, equal sizes together, limits kept.

A slot's memory is what its VMs have, the hypervisor's overhead for each, and the pilot's. A job's components stand
largest first, and its ranks run through them in that order.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.policy.api import Wanted
from flyinglow.nodectl.errors import InvalidError, NeverError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Demand, Request
    from flyinglow.backend.lrm.policy.api import Sizes

Size = tuple[int, int]
"""A slot's memory in MB and its CPUs."""


def vm_mb(demand: Demand, sizes: Sizes) -> int:
    """Return the memory that one VM takes of its slot."""
    return demand.memory_mb + sizes.vm_overhead_mb


def slot_size(demands: Sequence[Demand], sizes: Sizes) -> Size:
    """Return the smallest slot that holds these VMs at once."""
    memory_mb = sum(vm_mb(demand, sizes) for demand in demands) + sizes.slot_overhead_mb
    return memory_mb, max(sum(demand.cpus for demand in demands), 1)


def largest_vm_mb(sizes: Sizes) -> int | None:
    """Return the most memory a VM can have here; None: nobody knows."""
    if sizes.node_memory_mb is None:
        return None
    return max(sizes.node_memory_mb - sizes.vm_overhead_mb - sizes.slot_overhead_mb, 0)


def longest_lease(sizes: Sizes) -> int | None:
    """Return the longest lease that a job can carry here; None: nobody knows of a limit."""
    return None if sizes.longest is None else max(sizes.longest - sizes.margin, 0)


def check(request: Request, sizes: Sizes) -> None:
    """Raise NeverError for a lease longer than any job or a VM larger than any node; InvalidError for nonsense.

    Figures: ``duration.asked`` and ``longest``; ``memory_mb.asked`` and ``node_memory_mb``, the most a VM can have;
    ``cpus.asked`` and ``node_cpus``.
    """
    if len({demand.member for demand in request.demands}) != len(request.demands):
        raise InvalidError("two members of the request have the same id")
    longest = longest_lease(sizes)
    if longest is not None and request.duration > longest:
        raise NeverError(
            f"a lease of {request.duration} s is asked for, where jobs of this site allow at most {longest} s",
            {"duration.asked": request.duration, "longest": longest},
        )
    for demand in request.demands:
        _check_size(demand, sizes)


def _check_size(demand: Demand, sizes: Sizes) -> None:
    memory_mb, cpus = largest_vm_mb(sizes), sizes.node_cpus
    figures: dict[str, int] = {}
    reasons = []
    if memory_mb is not None and demand.memory_mb > memory_mb:
        figures |= {"memory_mb.asked": demand.memory_mb, "node_memory_mb": memory_mb}
        reasons.append(f"{demand.memory_mb} MB of memory, where the largest node has {memory_mb} for a VM")
    if cpus is not None and demand.cpus > cpus:
        figures |= {"cpus.asked": demand.cpus, "node_cpus": cpus}
        reasons.append(f"{demand.cpus} CPUs, where the largest node has {cpus}")
    if reasons:
        raise NeverError(f"{demand.name} asks for {' and for '.join(reasons)}", figures)


def job_of(slots: Sequence[tuple[Size, Sequence[str]]], seconds: int) -> Wanted:
    """Make one job of slots, each given as its size and the members that are to be on it."""
    counted = Counter(size for size, _ in slots)
    order = sorted(counted, reverse=True)
    components = tuple(Component(nodes=counted[size], memory_mb=size[0], cpus=size[1]) for size in order)
    ranked = sorted(slots, key=lambda slot: order.index(slot[0]))
    members = {member: rank for rank, (_, names) in enumerate(ranked) for member in names}
    return Wanted(components=components, seconds=seconds, members=members)

"""What policies see of a request: the offers, networks and images that it uses, and how much it takes."""

from __future__ import annotations

from collections.abc import Iterator

from flyinglow.access.policy import Wish
from flyinglow.factory.plan import Plan
from flyinglow.workspace.model import Hardware, Workspace

STANDARD, PREEMPTABLE = "standard", "preemptable"
DEDICATED, NUMA, HUGE_PAGES, DEVICE = "dedicated-cpus", "numa", "huge-pages", "device."
"""The names of the offers, as policies allow them; a device's is followed by its kind."""


def wish_of(planned: Plan) -> Wish:
    """Return what a planned request asks for."""
    rows = planned.workspaces
    return Wish(
        offers=frozenset(name for row in rows for name in _offers(row)),
        networks=frozenset(nic.network for row in rows for nic in row.nics),
        images=frozenset(
            name for row in rows for disk in row.disks for name in (disk.image, disk.partition) if name is not None
        ),
        members=len(rows),
        cpus=sum(row.allocation.cpus for row in rows),
        memory_mb=sum(row.allocation.memory_mb for row in rows),
        duration=planned.ask.duration,
    )


def _offers(row: Workspace) -> Iterator[str]:
    yield PREEMPTABLE if row.preemptable else STANDARD
    yield from hardware_offers(row.hardware)


def hardware_offers(hardware: Hardware) -> Iterator[str]:
    """Yield the offers that this hardware is."""
    if hardware.dedicated_cpus:
        yield DEDICATED
    if hardware.numa_node is not None:
        yield NUMA
    if hardware.huge_pages:
        yield HUGE_PAGES
    for kind in hardware.devices:
        yield DEVICE + kind

"""What a launch set asks of a back-end."""

from __future__ import annotations

from collections.abc import Sequence

from flyinglow.backend.api import Demand, Request
from flyinglow.workspace.model import Workspace


def request(rows: Sequence[Workspace]) -> Request:
    """Return the request for the places of all these workspaces."""
    demands = tuple(
        Demand(
            member=row.id,
            name=row.name,
            memory_mb=row.allocation.memory_mb,
            cpus=row.allocation.cpus,
            disk_mb=row.allocation.disk_mb,
            networks=tuple(nic.network for nic in row.nics),
        )
        for row in rows
    )
    return Request(
        demands=demands,
        duration=max(row.duration for row in rows),
        preemptable=all(row.preemptable for row in rows),
    )

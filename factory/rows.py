"""The rows that a granted request is written as: its lease, its workspaces as they were placed, their first events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from flyinglow.access.identity import Identity
from flyinglow.factory.addressing import NetworkTerms, leased
from flyinglow.factory.model import CreateRequest
from flyinglow.factory.plan import Plan
from flyinglow.workspace.lifecycle import event, state_event
from flyinglow.workspace.model import Event, Lease, Stamp, Topic, Workspace
from flyinglow.workspace.nic_body import nic_bodies
from flyinglow.workspace.ports import Tx


def lease_of(planned: Plan, caller: Identity, request: CreateRequest, mark: str, now: datetime) -> Lease:
    """Return what the request handed out, by which a repeated one is known."""
    return Lease(
        id=planned.lease_id,
        owner=caller.name,
        token=request.token,
        digest=mark,
        created_at=now,
        resources=planned.resources,
    )


def placed(
    tx: Tx, row: Workspace, node: str | None, planned: Plan, now: datetime, networks: Mapping[str, NetworkTerms]
) -> Workspace:
    """Lease the row's addresses and note its node.

    A lease begins when it is placed, in an open ensemble when that is done.
    """
    nics = leased(tx, row, networks)
    if node is None:
        return replace(row, nics=nics, stamps={**row.stamps, str(Stamp.QUEUED): now}, sequence=2)
    stamps = {**row.stamps, str(Stamp.SCHEDULED): now}
    ends_at = None if planned.open else now + timedelta(seconds=row.duration)
    return replace(row, nics=nics, node=node, stamps=stamps, ends_at=ends_at, sequence=2)


def events_of(row: Workspace, now: datetime) -> list[Event]:
    """Return the first events of a row."""
    return [
        state_event(row, now=now, sequence=1),
        event(row, Topic.NETWORKING, {"name": row.name, "nics": nic_bodies(row.nics)}, now=now, sequence=2),
    ]

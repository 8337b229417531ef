"""What a node says of a guest that sends what is not its own: an event for the lessee, a log line for the site."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from flyinglow.backend.api import node_name
from flyinglow.nodectl.messages import VmInfo
from flyinglow.workspace.alarm_book import Alarm, note
from flyinglow.workspace.lifecycle import tell
from flyinglow.workspace.model import Topic, Workspace
from flyinglow.workspace.nic_body import nic_bodies
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL

log = structlog.get_logger(__name__)


def raise_alarm(tx: Tx, row: Workspace, info: VmInfo, now: datetime) -> Workspace:
    """Write the event of an alarm, of networking with a reason, and return the row as stored.

    The lessee may not know of it: a guest that was broken into is the first to do such things.
    """
    if row.state in FINAL:
        return row
    log.warning(
        "a guest was stopped from sending what is not its own",
        workspace=row.name,
        owner=row.owner,
        tag=row.tag,
        node=node_name(row.node or ""),
        sent=info.alarm,
    )
    told = f"its guest sent what is not its own, and was stopped: {info.alarm}"
    nics = tuple(
        replace(nic, dropped=tuple(sorted(info.dropped_at.get(str(number), {}).items())))
        for number, nic in enumerate(row.nics)
    )
    note(tx, _entry(row, info, now))
    return tell(tx, row, Topic.NETWORKING, {"nics": nic_bodies(nics), "reason": told}, now=now, nics=nics)


def _entry(row: Workspace, info: VmInfo, now: datetime) -> Alarm:
    return Alarm(
        tag=row.tag,
        workspace=row.name,
        owner=row.owner,
        node=node_name(row.node or ""),
        sent=info.alarm,
        counts=info.dropped,
        first=now.isoformat(timespec="seconds"),
        last=now.isoformat(timespec="seconds"),
    )

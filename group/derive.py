"""Events of groups and ensembles, derived from their members' events by the drainer of the outbox.

``CollectionFold.derive`` reads every collection that a batch touches once, folds it, compares the result with what was
published last (``Collection.published``, a cursor and not a state) and records an event for each topic on which there
is something new. It costs one pass over a collection's members for a batch, not for an event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flyinglow.group.fold import Folded, fold
from flyinglow.group.members import members_of
from flyinglow.workspace.model import Collection, Event, Kind, ResourceKey, Topic, Workspace
from flyinglow.workspace.ports import Now, Tx
from flyinglow.workspace.states import FINAL, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """One event to be: its topic and body."""

    topic: Topic
    body: Mapping[str, Any]


class CollectionFold:
    """Derives the events of groups and ensembles; the ``Fold`` that notification is given."""

    def __init__(self, now: Now) -> None:
        self._now = now

    def derive(self, tx: Tx, events: Sequence[Event]) -> list[Event]:
        """Record and return the events that follow from these events of workspaces; others are passed over."""
        derived: list[Event] = []
        for key, mine in _by_collection(events).items():
            row = tx.collections.get(key)
            if row is not None:
                derived += self._publish(tx, row, members_of(tx, key), mine)
        return derived

    def _publish(self, tx: Tx, row: Collection, members: Sequence[Workspace], events: Sequence[Event]) -> list[Event]:
        before = json.loads(row.published) if row.published else {}
        after, news = compare(before, fold(members), members, events)
        if not news and after == before:
            return []
        now = self._now()
        made = [
            Event(
                key=row.key,
                sequence=row.sequence + number,
                topic=item.topic,
                owner=row.owner,
                at=now,
                body={"name": row.name, **item.body},
            )
            for number, item in enumerate(news, start=1)
        ]
        published = json.dumps(after, sort_keys=True)
        tx.collections.write(row, replace(row, published=published, sequence=row.sequence + len(made)))
        tx.outbox.add(made)
        return made


def compare(
    before: Mapping[str, Any], folded: Folded, members: Sequence[Workspace], events: Sequence[Event]
) -> tuple[dict[str, Any], list[_News]]:
    """Return the new publication cursor and what is to be told, in the order in which it is told; pure."""
    after: dict[str, Any] = {
        "state": folded.state,
        "task": folded.task,
        "reason": folded.reason,
        "counts": dict(folded.counts),
        "ends_at": _latest(member.ends_at for member in members),
        "starts_at": _latest(member.starts_at for member in members),
        "waits": next((member.reason for member in members if member.task is Task.QUEUED and member.reason), None),
        "warned": before.get("warned"),
        "over": all(member.state in FINAL for member in members),
    }
    topics = {event.topic for event in events}
    news: list[_News] = []
    if any(before.get(word) != after[word] for word in ("state", "task", "reason", "counts")):
        news.append(_state(before, folded))
    if Topic.NETWORKING in topics:
        news.append(_networking(events))
    if Topic.SCHEDULE in topics and any(before.get(word) != after[word] for word in ("ends_at", "starts_at", "waits")):
        news.append(_schedule(events, after["ends_at"]))
    if Topic.WARNING in topics:
        warning = max((e.body for e in events if e.topic is Topic.WARNING), key=_urgency)
        if warning["ends_at"] != before.get("warned"):
            after["warned"] = warning["ends_at"]
            body = {k: warning[k] for k in ("ends_at", "seconds", "reason", "saves_at") if k in warning}
            news.append(_News(topic=Topic.WARNING, body=body))
    if after["over"] and not before.get("over"):
        at = _latest(member.finished_at for member in members)
        body = {"reason": folded.reason, "at": at, "state": folded.state}
        news.append(_News(topic=Topic.TERMINATION, body=body))
    return after, news


def _urgency(warning: Mapping[str, Any]) -> tuple[bool, str]:
    """Rank warnings: places that are taken away come before the end of a lease; of these, the last one counts."""
    return "reason" in warning, str(warning["ends_at"])


def _state(before: Mapping[str, Any], folded: Folded) -> _News:
    body = {
        "state": folded.state,
        "task": folded.task,
        "target": None,
        "reason": folded.reason,
        "previous": before.get("state"),
        "counts": dict(folded.counts),
        "total": folded.total,
    }
    return _News(topic=Topic.STATE, body=body)


def _networking(events: Sequence[Event]) -> _News:
    bodies = [event.body for event in events if event.topic is Topic.NETWORKING]
    told = "; ".join(f"{body['name']}: {body['reason']}" for body in bodies if body.get("reason"))
    body = {"nics": [nic for body in bodies for nic in body["nics"]], **({"reason": told} if told else {})}
    return _News(topic=Topic.NETWORKING, body=body)


def _schedule(events: Sequence[Event], ends_at: str | None) -> _News:
    last = [event for event in events if event.topic is Topic.SCHEDULE][-1].body
    return _News(
        topic=Topic.SCHEDULE,
        body={**{k: last[k] for k in ("reason", "starts_at", "saves_at") if k in last}, "ends_at": ends_at},
    )


def _by_collection(events: Sequence[Event]) -> dict[ResourceKey, list[Event]]:
    """Sort a batch of members' events by the groups and ensembles that they are members of."""
    found: dict[ResourceKey, list[Event]] = {}
    for event in events:
        if event.key.kind is not Kind.WORKSPACE:
            continue
        for kind, whole in ((Kind.GROUP, event.group_id), (Kind.ENSEMBLE, event.ensemble_id)):
            if whole is not None:
                found.setdefault(ResourceKey(kind, whole), []).append(event)
    return found


def _latest(times: Any) -> str | None:
    given: list[datetime] = [time for time in times if time is not None]
    return max(given).isoformat() if given else None

"""The list of what a caller has leased: workspaces, groups and ensembles in one order, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import TypeVar

from flyinglow.group.fold import fold
from flyinglow.group.members import members_of
from flyinglow.workspace.model import LEASED, Collection, Kind, ResourceKey, Selection, Workspace
from flyinglow.workspace.ports import Tx

_LEAST = 50  # rows of one read, where a state is asked for that few are in
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entry of a list; a group's or ensemble's state is its members' folded."""

    key: ResourceKey
    name: str
    owner: str
    state: str
    task: str | None
    reason: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, and after which id the next page begins (None: this was the last)."""

    entries: tuple[Listed, ...]
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which resources are wanted; None means all."""

    owner: str | None = None
    kind: Kind | None = None
    state: str | None = None


def page(tx: Tx, wanted: Filter, after: str | None, limit: int) -> Page:
    """Return up to ``limit`` entries with ids above ``after``, in id order."""
    kinds = [wanted.kind] if wanted.kind else list(LEASED)
    chunk = max(limit + 1, _LEAST)  # one read is enough unless a filter drops rows
    streams = [_stream(tx, kind, wanted.owner, after, chunk) for kind in kinds]
    entries = merge(*streams, key=lambda entry: entry.key.id)
    matching = (entry for entry in entries if wanted.state in {None, entry.state})
    found = list(islice(matching, limit + 1))
    more = len(found) > limit
    return Page(tuple(found[:limit]), found[limit - 1].key.id if more else None)


def _stream(tx: Tx, kind: Kind, owner: str | None, after: str | None, chunk: int) -> Iterator[Listed]:
    if kind is Kind.WORKSPACE:
        rows = _chunks(
            lambda last: tx.workspaces.select(Selection(owner=owner, visible=True, after=last, limit=chunk)),
            after,
            lambda row: row.id,
            chunk,
        )
        return (_workspace(row) for row in rows)
    collections = _chunks(
        lambda last: tx.collections.select(kind, owner=owner, after=last, limit=chunk),
        after,
        lambda row: row.key.id,
        chunk,
    )
    return (_collection(tx, row) for row in collections if row.destroyed_at is None)


def _chunks(
    read: Callable[[str | None], list[R]], after: str | None, id_of: Callable[[R], str], chunk: int
) -> Iterator[R]:
    while rows := read(after):
        yield from rows
        if len(rows) < chunk:
            return
        after = id_of(rows[-1])


def _workspace(row: Workspace) -> Listed:
    task = str(row.task) if row.task else None
    return Listed(
        key=row.key,
        name=row.name,
        owner=row.owner,
        state=str(row.state),
        task=task,
        reason=row.reason,
        ends_at=row.ends_at,
    )


def _collection(tx: Tx, row: Collection) -> Listed:
    members = members_of(tx, row.key)
    folded = fold(members)
    ends = [member.ends_at for member in members if member.ends_at is not None]
    return Listed(
        key=row.key,
        name=row.name,
        owner=row.owner,
        state=folded.state,
        task=folded.task,
        reason=folded.reason,
        ends_at=row.ends_at if row.open else max(ends, default=None),
    )

"""The rows of workspaces."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.subscriptions import remove_of
from flyinglow.store.tables import FINISHED, HAS_TASK, LIVING, SAVED_AT_END, WORKSPACES
from flyinglow.workspace.model import Allocation, EndAction, InitialState, Kind, ResourceKey, Selection, Workspace
from flyinglow.workspace.ports import StaleError
from flyinglow.workspace.states import FINAL, State, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement, TextClause

    _Condition = ColumnElement[bool] | TextClause

_C = WORKSPACES.c
_ALLOCATED = ("memory_mb", "cpus", "disk_mb")
_FIELDS = tuple(field.name for field in fields(Workspace) if field.name != "allocation")
_DUMP: dict[str, Callable[[Any], Any]] = {
    "disks": codec.dump_disks,
    "nics": codec.dump_nics,
    "context": codec.dump_context,
    "hardware": codec.dump_hardware,
    "stamps": codec.dump_stamps,
    "seconds": codec.dump,
    "saved": codec.dump_foreign,
}
_LOAD: dict[str, Callable[[Any], Any]] = {
    "state": State,
    "task": lambda word: word and Task(word),
    "target": lambda word: word and State(word),
    "initial_state": InitialState,
    "end_action": EndAction,
    "disks": codec.load_disks,
    "nics": codec.load_nics,
    "context": codec.load_context,
    "hardware": codec.load_hardware,
    "stamps": codec.load_stamps,
    "seconds": codec.load,
    "saved": codec.load,
}
_FLAGS: dict[str, tuple[_Condition, _Condition]] = {  # field -> (when true, when false)
    "with_task": (HAS_TASK, _C.task.is_(None)),
    "living": (LIVING, _C.state.in_(sorted(FINAL))),
    "saved_at_end": (SAVED_AT_END, _C.end_action != "save"),
    "visible": (_C.destroyed_at.is_(None), _C.destroyed_at.is_not(None)),
}
_EQUALS = ("owner", "group_id", "ensemble_id", "launch_set", "node")
_GIVEN: dict[str, _Condition] = {  # each condition is worded as the partial index that serves it
    **{name: _C[name] == bindparam(name) for name in _EQUALS},
    "ids": _C.id.in_(bindparam("ids", expanding=True)),
    "tags": _C.tag.in_(bindparam("tags", expanding=True)),
    "ends_before": _C.ends_at <= bindparam("ends_before"),
    "start_before": _C.start_by <= bindparam("start_before"),
    "finished_before": and_(FINISHED, _C.finished_at <= bindparam("finished_before")),
    "after": _C.id > bindparam("after"),
}
_SELECTED = tuple(field.name for field in fields(Selection))

_GET = select(WORKSPACES).where(_C.id == bindparam("wanted"))
_ADD = insert(WORKSPACES)
_SET = update(WORKSPACES).where(_C.id == bindparam("old_id"), _C.version == bindparam("old_version"))
_CENSUS = select(_C.state, func.count()).group_by(_C.state)


class Workspaces:
    """Implements ``workspace.ports.WorkspaceRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[Workspace]) -> None:
        """Insert new rows; an id or a tag that is taken raises StaleError."""
        if rows:
            self._connection.execute(_ADD, [_to_row(row) for row in rows])

    def get(self, workspace_id: str) -> Workspace | None:
        """Return the row, destroyed ones too, or None."""
        row = self._connection.execute(_GET, {"wanted": workspace_id}).one_or_none()
        return None if row is None else _from_row(row)

    def select(self, selection: Selection) -> list[Workspace]:
        """Return all rows that match, in id order."""
        if selection.ids is None:
            return self._select(selection)
        found: list[Workspace] = []
        for batch in batches(sorted(set(selection.ids))):
            found += self._select(replace(selection, ids=tuple(batch)))
        found.sort(key=attrgetter("id"))
        return found[: selection.limit]

    def _select(self, selection: Selection) -> list[Workspace]:
        given = {name: value for name in _SELECTED if (value := getattr(selection, name)) is not None}
        flags = tuple((name, given.pop(name)) for name in _FLAGS if name in given)
        return [_from_row(row) for row in self._connection.execute(_query(tuple(given), flags), given)]

    def write(self, old: Workspace, new: Workspace) -> Workspace:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""
        changes = _changes(old, new)
        changes["version"] = old.version + 1
        keys = {"old_id": old.id, "old_version": old.version}
        if self._connection.execute(_SET, {**changes, **keys}).rowcount != 1:
            raise StaleError(f"workspace {old.tag} was changed by another transaction")
        return replace(new, version=old.version + 1)

    def purge(self, ids: Sequence[str]) -> None:
        """Forget rows for good, with the subscriptions to them."""
        for batch in batches(ids):
            self._connection.execute(delete(WORKSPACES).where(_C.id.in_(batch)))
        remove_of(self._connection, [ResourceKey(Kind.WORKSPACE, id_) for id_ in ids])

    def census(self) -> Mapping[str, int]:
        """Count the rows by state."""
        return {state: count for state, count in self._connection.execute(_CENSUS)}  # noqa: C416


@cache
def _query(given: tuple[str, ...], flags: tuple[tuple[str, bool], ...]) -> Select[Any]:
    """Return the statement for what a selection gives, made once: to make it costs more than to carry it out."""
    wanted = [_GIVEN[name] for name in given if name != "limit"] + [_FLAGS[name][not flag] for name, flag in flags]
    query = select(WORKSPACES).where(*wanted).order_by(_C.id)
    return query.limit(bindparam("limit")) if "limit" in given else query


def _to_row(workspace: Workspace) -> dict[str, Any]:
    row = {name: _cell(name, getattr(workspace, name)) for name in _FIELDS}
    row.update((name, getattr(workspace.allocation, name)) for name in _ALLOCATED)
    return row


def _changes(old: Workspace, new: Workspace) -> dict[str, Any]:
    """Return the columns to set: a narrow UPDATE leaves most indexes alone."""
    names = [name for name in _FIELDS if getattr(old, name) != getattr(new, name)]
    changes = {name: _cell(name, getattr(new, name)) for name in names}
    if old.allocation != new.allocation:
        changes.update((name, getattr(new.allocation, name)) for name in _ALLOCATED)
    return changes


def _cell(name: str, value: Any) -> Any:
    dump = _DUMP.get(name)
    return value if dump is None else dump(value)


def _from_row(row: Any) -> Workspace:
    cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    for name, load in _LOAD.items():
        cells[name] = load(cells[name])
    allocation = Allocation(**{name: cells.pop(name) for name in _ALLOCATED})
    return Workspace(allocation=allocation, **cells)

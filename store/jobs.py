"""The rows of pilot jobs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from flyinglow.backend.lrm.model import PilotJob
from flyinglow.backend.lrm.states import JOB_OVER, JobState
from flyinglow.store import codec
from flyinglow.store.slot_tables import JOB_IS_OVER, JOB_LIVES, PILOT_JOBS
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

_C = PILOT_JOBS.c
_FIELDS = tuple(field.name for field in fields(PilotJob))
_GET = select(PILOT_JOBS).where(_C.tag == bindparam("wanted"))
_ALL = select(PILOT_JOBS).order_by(_C.requested_at, _C.tag)
_ADD = insert(PILOT_JOBS)
_SET = update(PILOT_JOBS).where(_C.tag == bindparam("old_tag"), _C.version == bindparam("old_version"))
_PURGE = delete(PILOT_JOBS).where(JOB_IS_OVER, _C.over_at < bindparam("before"))
_OVER = _C.state.in_(sorted(JOB_OVER))


class Jobs:
    """Implements ``backend.lrm.ports.JobRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, job: PilotJob) -> None:
        """Insert a new job; a tag that is taken raises StaleError."""
        self._connection.execute(_ADD, {name: _cell(name, job) for name in _FIELDS})

    def get(self, tag: str) -> PilotJob | None:
        """Return the job or None."""
        row = self._connection.execute(_GET, {"wanted": tag}).one_or_none()
        return None if row is None else _from_row(row)

    def select(self, *, claim: str | None = None, living: bool | None = None) -> list[PilotJob]:
        """Return jobs, oldest first; ``living`` = not over."""
        query = _ALL
        if claim is not None:
            query = query.where(_C.claim == claim)
        if living is not None:
            query = query.where(JOB_LIVES if living else _OVER)
        return [_from_row(row) for row in self._connection.execute(query)]

    def write(self, old: PilotJob, new: PilotJob) -> PilotJob:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""
        version = old.version + 1
        changes = {name: _cell(name, new) for name in _FIELDS if getattr(new, name) != getattr(old, name)}
        keys = {"old_tag": old.tag, "old_version": old.version}
        if self._connection.execute(_SET, {**changes, **keys, "version": version}).rowcount != 1:
            raise StaleError(f"pilot job {old.tag} was changed by another transaction")
        return replace(new, version=version)

    def purge(self, before: datetime) -> int:
        """Forget jobs over since before then, with their slots, assignments and trails; return how many."""
        return self._connection.execute(_PURGE, {"before": before}).rowcount


def _cell(name: str, job: PilotJob) -> Any:
    return codec.dump_components(job.components) if name == "components" else getattr(job, name)


def _from_row(row: Any) -> PilotJob:
    cells = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    cells["components"] = codec.load_components(cells["components"])
    cells["state"] = JobState(cells["state"])
    return PilotJob(**cells)

"""What guests reported through the context endpoint, and the hashes of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select, update

from flyinglow.store import codec
from flyinglow.store.batches import batches
from flyinglow.store.context_tables import GUESTS
from flyinglow.store.upsert import insert_once
from flyinglow.workspace.model import GuestReport, GuestStatus
from flyinglow.workspace.ports import StaleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection

_C = GUESTS.c
_KNOWN = select(_C.workspace_id).where(_C.token_hash == bindparam("wanted"))
_SET = update(GUESTS).where(_C.workspace_id == bindparam("of_workspace"))


class Guests:
    """Implements ``workspace.ports.GuestRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def invite(self, tokens: Mapping[str, str]) -> None:
        """Note the hash of each workspace's token, by workspace id; the same again changes nothing."""
        blank = {"status": None, "message": "", "given": "{}", "at": None}
        rows = [{"workspace_id": id_, "token_hash": hashed, **blank} for id_, hashed in tokens.items()]
        if rows:
            self._connection.execute(insert_once(self._connection, GUESTS), rows)

    def known_by(self, token_hash: str) -> str | None:
        """Return the id of the workspace whose token this is the hash of, or None."""
        return self._connection.execute(_KNOWN, {"wanted": token_hash}).scalar_one_or_none()

    def report(self, report: GuestReport) -> None:
        """Write down what a guest reported, in place of what it reported before; StaleError for one not invited."""
        cells = {"status": report.status, "message": report.message, "at": report.at}
        cells["given"] = codec.dump_foreign(report.values)
        if self._connection.execute(_SET, {**cells, "of_workspace": report.workspace_id}).rowcount != 1:
            raise StaleError("a workspace was forgotten while its guest reported")

    def reports(self, workspace_ids: Sequence[str]) -> Mapping[str, GuestReport]:
        """Return, by workspace id, the reports of those that have reported."""
        found: dict[str, GuestReport] = {}
        for batch in batches(workspace_ids):
            query = select(GUESTS).where(_C.workspace_id.in_(batch), _C.status.is_not(None))
            found |= {row.workspace_id: _report(row) for row in self._connection.execute(query)}
        return found

    def purge(self, workspace_ids: Sequence[str]) -> None:
        """Forget tokens and reports for good; none there is no error."""
        for batch in batches(workspace_ids):
            self._connection.execute(delete(GUESTS).where(_C.workspace_id.in_(batch)))


def _report(row: Any) -> GuestReport:
    return GuestReport(
        workspace_id=row.workspace_id,
        status=GuestStatus(row.status),
        message=row.message,
        values=codec.load(row.given),
        at=row.at,
    )

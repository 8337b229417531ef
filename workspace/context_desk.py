"""The context endpoint: guests report ok, error and values, and ask for the values of the others. Bytes in, bytes out.

``POST /report`` with ``{"status": "ok" | "error", "message": ..., "values": {NAME: VALUE}}``, ``GET /members`` with
lines of text (see ``context_answer``). Every message bears the guest's token, which is good as long as its workspace
lives; an unknown token and another workspace's look alike. The server owns the socket and counts what comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from flyinglow.backend.abilities import Reply
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.context_answer import Answer, answer_to
from flyinglow.workspace.context_endpoint import hash_of
from flyinglow.workspace.context_message import Message, read
from flyinglow.workspace.lifecycle import reported
from flyinglow.workspace.model import GuestReport, Workspace
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.states import FINAL, Task

LONGEST = 60.0  # seconds that an answer is held back
_Heard = Callable[[str], None]
_FOREIGN = Reply(401, b"This token is not known here.\n")
_WRITTEN = Reply(200, b"written down\n")


class Time(Protocol):
    """The monotonic time of a reactor."""

    def seconds(self) -> float:
        """Return the time."""

    def callLater(self, delay: float, callable: Callable[..., Any], /, *args: Any) -> Any:
        """Call this after ``delay`` seconds."""


class Desk:
    """Answers guests; lives on the reactor. ``committed`` hears of each report that was written down."""

    def __init__(
        self, store: Store, reactor: Time, now: Now, committed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store = store
        self._reactor = reactor
        self._now = now
        self._committed = committed
        self._waiting: dict[str, set[Deferred[None]]] = {}  # launch set -> who waits for its next report
        self._closed = False
        self._heard = 0  # reports so far: one that came while the store was read is not missed

    async def report(self, token: str, body: bytes) -> Reply:
        """Write a guest's report down. The same again changes nothing, so a guest may repeat itself."""
        try:
            message = read(body)
        except InvalidError as error:
            return Reply(400, f"{error.message}\n".encode())
        launch_set = await self._store.run(partial(self._report, hash_of(token), message))
        if launch_set is None:
            return _FOREIGN
        self._committed("context.report")
        self._heard += 1
        for one in self._waiting.pop(launch_set, ()):
            _wake(one)
        return _WRITTEN

    async def members(self, token: str, seconds: float) -> Reply:
        """Return what a guest is told of its launch set, at the latest after ``seconds``.

        It waits until every member that provides what the guest requires has reported.
        """
        end = self._reactor.seconds() + min(max(0.0, seconds), LONGEST)
        while True:
            heard = self._heard
            known = await self._store.read(partial(_members, hash_of(token)))
            if known is None:
                return _FOREIGN
            launch_set, answer = known
            left = end - self._reactor.seconds()
            if not answer.missing or left <= 0 or self._closed:
                return Reply(200, answer.text.encode())
            if heard == self._heard:
                await self._next(launch_set, left)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for one in [one for some in waiting.values() for one in some]:
            _wake(one)

    async def _next(self, launch_set: str, seconds: float) -> None:
        """Return when a report has come, or time is up."""
        woken: Deferred[None] = Deferred()
        self._waiting.setdefault(launch_set, set()).add(woken)
        timer = self._reactor.callLater(seconds, _wake, woken)
        try:
            await woken
        finally:
            if timer.active():
                timer.cancel()
            waiting = self._waiting.get(launch_set, set())
            waiting.discard(woken)
            if not waiting:
                self._waiting.pop(launch_set, None)

    def _report(self, token_hash: str, message: Message, tx: Tx) -> str | None:
        row = _known(tx, token_hash)
        if row is None:
            return None
        now = self._now()
        before = tx.guests.reports([row.id]).get(row.id)
        if before is None or (before.status, before.message, before.values) != message.facts:
            status, text, values = message.facts
            report = GuestReport(workspace_id=row.id, status=status, message=text, values=values, at=now)
            tx.guests.report(report)
            reported(tx, row, report, now=now)
        return row.launch_set


def _known(tx: Tx, token_hash: str) -> Workspace | None:
    """Return the workspace whose token this is, as long as it lives and is its lessee's."""
    workspace_id = tx.guests.known_by(token_hash)
    row = tx.workspaces.get(workspace_id) if workspace_id is not None else None
    if row is None or row.state in FINAL or row.task is Task.RECLAIMING or row.destroyed_at is not None:
        return None
    return row


def _members(token_hash: str, tx: Tx) -> tuple[str, Answer] | None:
    row = _known(tx, token_hash)
    return None if row is None else (row.launch_set, answer_to(tx, row))


def _wake(one: Deferred[None]) -> None:
    if not one.called:
        one.callback(None)

"""What a lessee can do with one workspace.

A request only commits an intent (a task and its target); the provisioner sees the event of that commit and carries it
out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from flyinglow.access.identity import Identity
from flyinglow.backend.api import NodeChannel, Order
from flyinglow.nodectl.errors import BrokenError, ConflictError, InvalidError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace import membership, targets
from flyinglow.workspace.ends import Ends
from flyinglow.workspace.lifecycle import advance, reclaim, record
from flyinglow.workspace.model import GuestReport, Workspace
from flyinglow.workspace.outcomes import OUTCOMES, SHUTDOWN_VERBS, Do, NoOp, Refuse, ShutdownMode, Verb
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.quotas import Quotas
from flyinglow.workspace.states import FINAL, State, Status, Task
from flyinglow.workspace.terms import Terms
from flyinglow.workspace.visibility import find_workspace

T = TypeVar("T")
CONSOLE_MAX = 1 << 20  # bytes of one Console answer
CONSOLE_SECONDS = 20.0  # a node's time to answer


class Nodes(Protocol):
    """A way to the nodes; the back-end is one, and is asked for extensions when it is one that ``Extends``."""

    def channel(self, node: str) -> NodeChannel:
        """Return the kept channel to a node. Raises UnknownError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleText:
    """A piece of a guest's console. ``offset`` is where ``data`` begins, ``size`` what there is in all (bytes)."""

    data: bytes
    offset: int
    size: int


class WorkspaceService:
    """The workspace service of the paper's section 2.1, for callers that are authenticated already.

    Every verb raises UnknownError for a workspace that is not there or not the caller's. Blocking; called on a worker
    thread; every verb is one transaction.
    """

    def __init__(self, store: Store, now: Now, terms: Terms, nodes: Nodes, quotas: Quotas | None = None) -> None:
        self._store = store
        self._now = now
        self._terms = terms
        self._nodes = nodes
        self._ends = Ends(store, now, terms, nodes)
        self._quotas = quotas or Quotas(now)

    @property
    def terms(self) -> Terms:
        """The site's terms."""
        return self._terms

    def get(self, caller: Identity, workspace_id: str) -> Workspace:
        """Return the workspace as it stands in the store now."""
        return self._store.view(lambda tx: find_workspace(tx, caller, "get", workspace_id))

    def guest(self, caller: Identity, workspace_id: str) -> GuestReport | None:
        """Return what its guest reported last, or None."""

        def read(tx: Tx) -> GuestReport | None:
            row = find_workspace(tx, caller, "get", workspace_id)
            return tx.guests.reports([row.id]).get(row.id)

        return self._store.view(read)

    def start(self, caller: Identity, workspace_id: str) -> Workspace:
        """Run a Propagated workspace, or go on with a Paused one. Raises ConflictError by the table OUTCOMES."""
        return self._request(caller, workspace_id, Verb.START)

    def shutdown(
        self, caller: Identity, workspace_id: str, mode: ShutdownMode, save_to: str | None = None
    ) -> Workspace:
        """Shut it down in one of the ways offered; ``save_to`` is the URI to which mode Save sends its first disk.

        Raises ConflictError by the table OUTCOMES, InvalidError for Save without a place to save to.
        """
        if mode is not ShutdownMode.SAVE:
            return self._request(caller, workspace_id, SHUTDOWN_VERBS[mode])
        return self._request(caller, workspace_id, Verb.SAVE, targets.check(save_to))

    def destroy(self, caller: Identity, workspace_id: str) -> None:
        """Commit the intent to destroy it, whatever is being done to it; from then on its EPR is unknown."""

        def act(tx: Tx) -> None:
            row, now = find_workspace(tx, caller, Verb.DESTROY, workspace_id), self._now()
            membership.left(tx, apply(tx, row, Verb.DESTROY, now=now), now)

        self._store.call(act)

    def set_end(self, caller: Identity, workspace_id: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Move the end of the lease and return the time granted, or an awaitable of it; raises as ``Ends.move``."""
        judge = self._quotas.extension(caller)
        return self._ends.move(lambda tx: [find_workspace(tx, caller, "set_end", workspace_id)], at, judge)

    def console(
        self, caller: Identity, workspace_id: str, offset: int = 0, limit: int = 65536
    ) -> Awaitable[ConsoleText]:
        """Return an awaitable (to be awaited on the reactor) of the console from ``offset``, at most ``limit`` bytes.

        Raises at once InvalidError for a bad range and ConflictError while there is nothing on a node; the awaitable
        raises TransientError when the node does not answer.
        """
        if offset < 0 or not 0 < limit <= CONSOLE_MAX:
            raise InvalidError(f"a console range starts at 0 or later and has 1 to {CONSOLE_MAX} bytes")
        row = self._store.view(lambda tx: find_workspace(tx, caller, "console", workspace_id))
        if row.node is None or row.state in FINAL or row.state is State.UNPROPAGATED:
            raise ConflictError(f"workspace {row.name} has no console now: it is {row.state}")
        order = Order(OrderName.CONSOLE, row.tag, {"offset": offset, "max": limit})
        return _console(self._nodes.channel, row.node, order)

    def _request(self, caller: Identity, workspace_id: str, verb: Verb, save_to: str | None = None) -> Workspace:
        def act(tx: Tx) -> Workspace:
            row = find_workspace(tx, caller, verb, workspace_id)
            return apply(tx, row, verb, now=self._now(), save_to=save_to)

        return self._store.call(act)


def apply(tx: Tx, row: Workspace, verb: Verb, *, now: datetime, save_to: str | None = None) -> Workspace:
    """Do what the table OUTCOMES says for ``verb`` and return the row; raises ConflictError where it refuses.

    ``save_to`` is what ``targets.check`` returned: for several, each has its own name put in here.
    """
    outcome = OUTCOMES[verb, row.status]
    save_to = targets.target(save_to, row) if save_to else None
    facts: dict[str, Any] = {"destroyed_at": now} if verb is Verb.DESTROY else {}
    if (
        verb is Verb.SAVE
        and isinstance(outcome, NoOp)
        and (row.target, row.save_uri) != (State.TRANSPORT_READY, save_to)
    ):
        outcome = _elsewhere(row, save_to)
    match outcome:
        case Refuse(reason):
            state = f"{row.state}, {row.task}" if row.task else str(row.state)
            raise ConflictError(f"{verb}: workspace {row.name} is {state}: {reason}")
        case Do(Task.RECLAIMING, target):
            reason = "destroyed by its owner" if verb is Verb.DESTROY else "trashed by its owner"
            return reclaim(tx, row, target, now=now, reason=reason, **facts)
        case Do(task, target):
            where: dict[str, Any] = {"save_uri": save_to} if verb is Verb.SAVE else {}
            return advance(tx, row, Status(row.state, task), now=now, target=target, attempts=0, **where)
        case NoOp():
            return record(tx, row, **facts) if facts else row


def _elsewhere(row: Workspace, save_to: str | None) -> NoOp | Refuse:
    """Refuse to save what is being shut down without being saved, or is saved to another place."""
    if row.save_uri == save_to and row.task is not Task.SHUTTING_DOWN:
        return NoOp()
    return Refuse("it is being shut down, or is saved elsewhere")


async def _console(channel: Callable[[str], NodeChannel], node: str, order: Order) -> ConsoleText:
    body = await channel(node).send(order, CONSOLE_SECONDS)
    try:
        data = base64.b64decode(body["data"], validate=True)
        return ConsoleText(data=data, offset=int(body["offset"]), size=int(body["size"]))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BrokenError(f"node {node} sent a console answer that cannot be read") from error

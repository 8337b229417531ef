"""What a lessee can do with a group, and with the members of an ensemble: the verbs of a workspace, fanned out.

A fan-out is one transaction with one result per member; a member's refusal does not undo the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from flyinglow.access.identity import Identity
from flyinglow.group.fold import Folded, fold
from flyinglow.group.members import MemberResult, Whole, find_whole, refusal_for
from flyinglow.nodectl.errors import ConflictError, DeniedError, FlyingLowError
from flyinglow.workspace import membership, targets
from flyinglow.workspace.ends import Ends
from flyinglow.workspace.model import Collection, Kind, ResourceKey, Workspace
from flyinglow.workspace.outcomes import SHUTDOWN_VERBS, ShutdownMode, Verb
from flyinglow.workspace.ports import Now, StaleError, Store, Tx
from flyinglow.workspace.quotas import Quotas
from flyinglow.workspace.service import apply
from flyinglow.workspace.states import FINAL
from flyinglow.workspace.terms import Terms


class CollectionService:
    """The verbs that groups and ensembles share; ``kind`` says which of the two this service is for.

    Every verb raises UnknownError for one that is not there or not the caller's. Blocking; called on a worker thread.
    ``backend`` is asked for extensions when it is one that ``Extends``.
    """

    kind: ClassVar[Kind]

    def __init__(
        self, store: Store, now: Now, terms: Terms, backend: object = None, quotas: Quotas | None = None
    ) -> None:
        self._store = store
        self._now = now
        self._terms = terms
        self._ends = Ends(store, now, terms, backend)
        self._quotas = quotas or Quotas(now)

    @property
    def terms(self) -> Terms:
        """The site's terms."""
        return self._terms

    def get(self, caller: Identity, resource: str) -> Whole:
        """Return it with its workspaces as they stand in the store now; ``state_of`` folds them."""
        return self._store.view(lambda tx: self._find(tx, caller, "get", resource))

    def start(self, caller: Identity, resource: str) -> list[MemberResult]:
        """Start every member that is not over; one result per member."""
        return self._fan_out(caller, resource, Verb.START)

    def shutdown(
        self, caller: Identity, resource: str, mode: ShutdownMode, save_to: str | None = None
    ) -> list[MemberResult]:
        """Shut every member down that is not over; one result per member.

        ``save_to`` is for mode Save: a URI with ``{name}`` or ``{tag}`` in it, where each member's own is put. Raises
        InvalidError for one that cannot be saved to.
        """
        place = targets.check(save_to) if mode is ShutdownMode.SAVE else None
        return self._fan_out(caller, resource, SHUTDOWN_VERBS[mode], place)

    def destroy(self, caller: Identity, resource: str) -> None:
        """Commit the intent to destroy it and every member; from then on all their EPRs are unknown.

        Members that others joined are not destroyed, unless the caller may do that to each by itself.
        """

        def act(tx: Tx) -> None:
            whole = self._find(tx, caller, "destroy", resource)
            now = self._now()
            if whole.row.ensemble_id is not None:
                membership.gone(tx, whole.row.ensemble_id, whole.members, now)
            for member in whole.members:
                if refusal_for(tx, caller, Verb.DESTROY, whole.row, member) is None:
                    apply(tx, member, Verb.DESTROY, now=now)
                else:
                    self._part(tx, whole, member, now)
            self._forget(tx, whole, now)

        self._store.call(act)

    def set_end(self, caller: Identity, resource: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Move the end of every member's lease, all or none; return the time granted, or an awaitable of it.

        Members that others joined keep theirs. Raises as ``Ends.move``.
        """

        def living(tx: Tx) -> list[Workspace]:
            whole = self._find(tx, caller, "set_end", resource)
            found = [member for member in whole.members if member.state not in FINAL]
            if not found:
                raise ConflictError(f"the lease of {self.kind} {whole.row.name} is over")
            mine = _allowed(tx, caller, "set_end", whole.row, found)
            if not mine:
                raise DeniedError(
                    f"what is left of {self.kind} {whole.row.name} was joined by others: its end is theirs"
                )
            return mine

        return self._ends.move(living, at, self._quotas.extension(caller))

    def find_to_change(self, tx: Tx, caller: Identity, resource: str) -> tuple[Collection, Sequence[Workspace]]:
        """Return it with those of its members that he may change; raises UnknownError."""
        whole = self._find(tx, caller, "set", resource)
        return whole.row, _allowed(tx, caller, "set", whole.row, whole.members)

    def report(
        self, caller: Identity, resource: str, choose: Callable[[Workspace], bool] = lambda _: True
    ) -> tuple[Folded, tuple[Workspace, ...]]:
        """Return the folded state, and of the members those that ``choose`` picks: one call in place of n."""
        whole = self.get(caller, resource)
        return state_of(whole), tuple(filter(choose, whole.members))

    def _find(self, tx: Tx, caller: Identity, verb: str, resource: str) -> Whole:
        return find_whole(tx, caller, verb, ResourceKey(self.kind, resource))

    def _fan_out(self, caller: Identity, resource: str, verb: Verb, save_to: str | None = None) -> list[MemberResult]:
        def act(tx: Tx) -> list[MemberResult]:
            whole = self._find(tx, caller, verb, resource)
            if save_to is not None:
                targets.check(save_to, several=len(whole.members) > 1)
            now = self._now()
            refused = {member.id: refusal_for(tx, caller, verb, whole.row, member) for member in whole.members}
            return [_one(tx, member, verb, now, save_to, refused[member.id]) for member in whole.members]

        return self._store.call(act)

    def _part(self, tx: Tx, whole: Whole, member: Workspace, now: datetime) -> None:
        """Part with a member that is not destroyed with the whole."""
        raise DeniedError(f"workspace {member.name} belongs to another")

    def _forget(self, tx: Tx, whole: Whole, now: datetime) -> None:
        tx.collections.write(whole.row, replace(whole.row, destroyed_at=now, open=False))


class GroupService(CollectionService):
    """The workspace group service (section 2.1): n workspaces alike."""

    kind = Kind.GROUP


def state_of(whole: Whole) -> Folded:
    """Return the folded state, over the members that were destroyed one by one, too."""
    return fold(whole.all_members)


def _allowed(tx: Tx, caller: Identity, verb: str, row: Collection, members: Sequence[Workspace]) -> list[Workspace]:
    """Return those members to which ``caller`` may do ``verb``."""
    return [member for member in members if refusal_for(tx, caller, verb, row, member) is None]


def _one(
    tx: Tx, member: Workspace, verb: Verb, now: datetime, save_to: str | None, refused: DeniedError | None
) -> MemberResult:
    if refused is not None:
        return MemberResult(workspace=member, error=refused)
    try:
        return MemberResult(workspace=apply(tx, member, verb, now=now, save_to=save_to))
    except StaleError:
        raise  # the whole transaction is run again
    except FlyingLowError as error:
        return MemberResult(workspace=member, error=error)

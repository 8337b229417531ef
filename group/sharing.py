"""Sharing: an owner lets another identity, or the members of a group, read or use what he leases, and takes it back.

What is shared of a group or an ensemble holds for its members, too. Only its owner (and an administrator) shares; to
share again with the same grantee replaces what was shared before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.access.shares import Grantee, Level, Share
from flyinglow.group.members import members_of
from flyinglow.nodectl.errors import ConflictError, InvalidError
from flyinglow.workspace.model import Kind, ResourceKey
from flyinglow.workspace.visibility import SEE, find_collection, find_workspace, shares_of

if TYPE_CHECKING:
    from flyinglow.access.identity import Identity
    from flyinglow.notification.ports import NotificationTx
    from flyinglow.workspace.model import Collection, Workspace
    from flyinglow.workspace.ports import Now, Store, Tx

MOST = 100
"""With how many one resource may be shared."""


class SharingService:
    """Delegates and revokes. Blocking; called on a worker thread; every verb is one transaction.

    Every verb raises UnknownError for what is not there or not the caller's to see, DeniedError for what he may see and
    not share.
    """

    def __init__(self, store: Store, now: Now) -> None:
        self._store = store
        self._now = now

    def shares(self, caller: Identity, key: ResourceKey) -> list[Share]:
        """Return with whom a resource, or what it is part of, is shared; to whom it is shared with, his own only."""

        def read(tx: Tx) -> list[Share]:
            row = _find(tx, caller, SEE, key)
            found = shares_of(tx, row, key.id)
            if caller.name == row.owner or caller.admin or caller.observer:
                return found
            return [share for share in found if share.grantee.means(caller)]

        return self._store.view(read)

    def delegate(self, caller: Identity, key: ResourceKey, grantee: Grantee, level: Level) -> None:
        """Share it. Raises InvalidError for its owner as grantee, ConflictError when it is shared with too many."""

        def act(tx: Tx) -> None:
            row = _find(tx, caller, "delegate", key)
            if grantee == Grantee(row.owner):
                raise InvalidError("it is its owner's already")
            mine = [share.grantee for share in tx.shares.of([key.id])]
            if grantee not in mine and len(mine) >= MOST:
                raise ConflictError(f"it is shared with {MOST} already, the most allowed")
            tx.shares.put(
                Share(resource_id=key.id, grantee=grantee, level=level, granted_by=caller.name, granted_at=self._now())
            )

        self._store.call(act)

    def revoke(self, caller: Identity, key: ResourceKey, grantee: Grantee) -> None:
        """Share it no longer, and end the subscriptions that nobody could make any more.

        Who was a group's member is not known: when a group's is revoked, those of everybody end who neither owns it nor
        is named by another share. Raises ConflictError when it is not shared with this grantee.
        """

        def act(tx: NotificationTx) -> None:
            row = _find(tx, caller, "revoke", key)
            if not tx.shares.remove(key.id, grantee):
                raise ConflictError("it is not shared with them")
            _end_subscriptions(tx, key, row, grantee)

        self._store.call(act)


def _find(tx: Tx, caller: Identity, verb: str, key: ResourceKey) -> Workspace | Collection:
    if key.kind is Kind.WORKSPACE:
        return find_workspace(tx, caller, verb, key.id)
    return find_collection(tx, caller, verb, key)


def _end_subscriptions(tx: NotificationTx, key: ResourceKey, row: Workspace | Collection, grantee: Grantee) -> None:
    for target in _reached(tx, key, row):
        shares = shares_of(tx, target, target.key.id)
        kept = {target.owner, *(share.grantee.name for share in shares if not share.grantee.is_group)}
        over = [each for each in tx.subscriptions.of([target.key]) if each.owner not in kept]
        tx.subscriptions.remove([each.id for each in over if grantee.is_group or each.owner == grantee.name])


def _reached(tx: Tx, key: ResourceKey, row: Workspace | Collection) -> list[Workspace | Collection]:
    """Return the resource and those of its members that its shares reach: its owner's."""
    found: list[Workspace | Collection] = [row]
    if key.kind is not Kind.WORKSPACE:
        found += members_of(tx, key)
    if key.kind is Kind.ENSEMBLE:
        found += tx.collections.select(Kind.GROUP, ensemble_id=key.id)
    return [each for each in found if each.owner == row.owner]

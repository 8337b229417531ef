"""Who may be told of a resource: asked when a subscription is made, and whenever its maker goes on with it.

A subscription belongs to who made it, but what it tells belongs to another, who may have taken the right back. Who may
not be told any more gets the answer that a stranger gets; to be told no more (Pause, Unsubscribe) needs no right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.access.decision import Deny, decide
from flyinglow.nodectl.errors import UnknownError
from flyinglow.notification.model import broker_of
from flyinglow.workspace.model import Kind
from flyinglow.workspace.visibility import admit, shares_of, unknown

if TYPE_CHECKING:
    from flyinglow.access.identity import Identity
    from flyinglow.notification.model import Subscription
    from flyinglow.notification.ports import NotificationTx
    from flyinglow.workspace.model import Collection, ResourceKey, Workspace

VERB: Final = "subscribe"


def require(tx: NotificationTx, caller: Identity, producer: ResourceKey) -> None:
    """Raise UnknownError unless the resource is there and the caller's to be told of."""
    if producer.kind is Kind.BROKER:
        if producer != broker_of(caller.name):
            raise UnknownError("there is no such broker")
        return
    admit(tx, caller, VERB, _row(tx, producer), producer.kind, producer.id)


def require_still(tx: NotificationTx, caller: Identity, row: Subscription) -> None:
    """Raise UnknownError when the caller may no longer be told of what a subscription of his is about.

    What was destroyed has told its last, which may still be on its way: that is his as long as it is kept.
    """
    if row.producer.kind is Kind.BROKER:
        return  # of its owner's own resources only
    found = _row(tx, row.producer)
    shares = shares_of(tx, found, row.producer.id)
    if found is None or isinstance(decide(caller, VERB, found.owner, shares), Deny):
        raise unknown(row.producer.kind)


def _row(tx: NotificationTx, producer: ResourceKey) -> Workspace | Collection | None:
    return tx.workspaces.get(producer.id) if producer.kind is Kind.WORKSPACE else tx.collections.get(producer)

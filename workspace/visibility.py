"""Which resources a caller can see: his own that he has not destroyed, and those that are shared with him.

Who may not see a resource gets the one answer for what is not there, after as many look-ups; who may see it, and not do
what he asks for, is told so.
"""

from __future__ import annotations

from flyinglow.access.decision import Allow, Deny, decide
from flyinglow.access.identity import Identity
from flyinglow.access.shares import Share
from flyinglow.nodectl.errors import DeniedError, UnknownError
from flyinglow.workspace.model import Collection, Kind, ResourceKey, Workspace
from flyinglow.workspace.ports import Tx

SEE = "get"


def find_workspace(tx: Tx, caller: Identity, verb: str, workspace_id: str) -> Workspace:
    """Return the workspace; raises UnknownError when there is none that this caller can see.

    DeniedError when he may see it, but not do ``verb`` to it.
    """
    row = tx.workspaces.get(workspace_id)
    admit(tx, caller, verb, row, Kind.WORKSPACE, workspace_id)
    if row is None:
        raise unknown(Kind.WORKSPACE)
    return row


def find_collection(tx: Tx, caller: Identity, verb: str, key: ResourceKey) -> Collection:
    """Return the group or ensemble; raises as ``find_workspace``."""
    row = tx.collections.get(key)
    admit(tx, caller, verb, row, key.kind, key.id)
    if row is None:
        raise unknown(key.kind)
    return row


def admit(
    tx: Tx, caller: Identity, verb: str, row: Workspace | Collection | None, kind: Kind, resource_id: str
) -> None:
    """Raise unless ``caller`` may do ``verb`` to a row that was found, or not found, under this id."""
    if row is not None and row.destroyed_at is None and caller.name == row.owner:
        shares: list[Share] = []
    else:  # for what is not there, too: the answer takes as long
        shares = shares_of(tx, row, resource_id)
    if row is None or row.destroyed_at is not None:
        raise unknown(kind)
    verdict = decide(caller, verb, row.owner, shares)
    if isinstance(verdict, Allow):
        return
    if isinstance(decide(caller, SEE, row.owner, shares), Deny):
        raise unknown(kind)
    raise DeniedError(verdict.reason, verdict.figures)


def shares_of(tx: Tx, row: Workspace | Collection | None, resource_id: str) -> list[Share]:
    """Return the shares of a resource, and of the group and the ensemble that it is in.

    What was joined to somebody else's ensemble is not reached by that one's shares: its owner did not share it.
    """
    wholes = [] if row is None else [getattr(row, "group_id", None), row.ensemble_id]
    return tx.shares.reaching(resource_id, [each for each in wholes if each], row.owner if row else "")


def refusal(tx: Tx, caller: Identity, verb: str, row: Workspace | Collection) -> DeniedError | None:
    """Return why ``caller`` may not do ``verb`` to what he knows of; None when he may."""
    verdict = decide(caller, verb, row.owner, shares_of(tx, row, row.key.id))
    return DeniedError(verdict.reason, verdict.figures) if isinstance(verdict, Deny) else None


def unknown(kind: Kind) -> UnknownError:
    """Return the one error for a resource that is not there, is destroyed, or is another's."""
    return UnknownError(f"there is no such {kind}: it was never created, has been destroyed, or is not yours")

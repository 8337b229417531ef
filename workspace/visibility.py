"""Which resources a caller can see: his own that he has not destroyed. Unknown and foreign ones look alike."""

from __future__ import annotations

from flyinglow.access.decision import Allow, decide
from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import UnknownError
from flyinglow.workspace.model import Collection, Kind, ResourceKey, Workspace
from flyinglow.workspace.ports import Tx


def visible(caller: Identity, verb: str, row: Workspace | Collection) -> bool:
    """Say whether ``caller`` may do ``verb`` to a row that its owner has not destroyed."""
    return row.destroyed_at is None and isinstance(decide(caller, verb, row.owner), Allow)


def find_workspace(tx: Tx, caller: Identity, verb: str, workspace_id: str) -> Workspace:
    """Return the workspace; raises UnknownError when there is none that this caller can see."""
    row = tx.workspaces.get(workspace_id)
    if row is None or not visible(caller, verb, row):
        raise unknown(Kind.WORKSPACE)
    return row


def find_collection(tx: Tx, caller: Identity, verb: str, key: ResourceKey) -> Collection:
    """Return the group or ensemble; raises UnknownError when there is none that this caller can see."""
    row = tx.collections.get(key)
    if row is None or not visible(caller, verb, row):
        raise unknown(key.kind)
    return row


def unknown(kind: Kind) -> UnknownError:
    """Return the one error for a resource that is not there, is destroyed, or is another's."""
    return UnknownError(f"there is no such {kind}: it was never created, has been destroyed, or is not yours")

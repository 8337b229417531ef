"""Which workspaces a group or an ensemble is made of, and how its owner finds it."""

from __future__ import annotations

from dataclasses import dataclass

from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import DeniedError, FlyingLowError
from flyinglow.workspace.model import Collection, Kind, ResourceKey, Selection, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.visibility import find_collection, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A group or ensemble with its workspaces, in the order of their names.

    ``members`` are those still visible, ``all_members`` also those that were destroyed one by one: the folded state is
    theirs.
    """

    row: Collection
    members: tuple[Workspace, ...]
    all_members: tuple[Workspace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberResult:
    """What became of a request for one member: the workspace as it is now, and the error if it was refused."""

    workspace: Workspace
    error: FlyingLowError | None = None


def members_of(tx: Tx, key: ResourceKey) -> list[Workspace]:
    """Return the workspaces of a group or ensemble, destroyed ones too."""
    if key.kind is Kind.GROUP:
        return tx.workspaces.select(Selection(group_id=key.id))
    return tx.workspaces.select(Selection(ensemble_id=key.id))


def find_whole(tx: Tx, caller: Identity, verb: str, key: ResourceKey) -> Whole:
    """Return it with its members; raises UnknownError when there is none that this caller can see."""
    row = find_collection(tx, caller, verb, key)
    members = sorted(members_of(tx, key), key=_by_name)
    return Whole(
        row=row,
        members=tuple(member for member in members if member.destroyed_at is None),
        all_members=tuple(members),
    )


def refusal_for(tx: Tx, caller: Identity, verb: str, row: Collection, member: Workspace) -> DeniedError | None:
    """Return why ``caller``, who may do ``verb`` to a whole, may not do it to this member; None when he may.

    What a whole's owner has joined to it goes with the whole; what others joined stays theirs.
    """
    return None if member.owner == row.owner else refusal(tx, caller, verb, member)


def _by_name(row: Workspace) -> tuple[str, int, str]:
    """Sort ``worker-10`` after ``worker-2``."""
    number = row.name.rpartition("-")[2]
    return row.part, int(number) if number.isdigit() else 0, row.name

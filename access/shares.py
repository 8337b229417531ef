"""Shares: what an owner lets another identity, or the members of a group, do with one of his resources."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.access.identity import Identity


class Level(StrEnum):
    """How much is shared."""

    READ = "read"  # its properties and its events
    FULL = "full"  # all that its owner may, but for sharing it on


@dataclass(frozen=True, slots=True, order=True)
class Grantee:
    """With whom something is shared: one identity by its name, or all who are members of a group when they call."""

    name: str
    is_group: bool = False

    def means(self, caller: Identity) -> bool:
        """Say whether ``caller`` is meant."""
        return self.name in caller.groups if self.is_group else self.name == caller.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One resource shared with one grantee; what is shared with a group or an ensemble holds for its members, too."""

    resource_id: str
    grantee: Grantee
    level: Level
    granted_by: str
    granted_at: datetime

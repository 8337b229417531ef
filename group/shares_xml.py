"""Shares on the wire: the property that lists them, and who is meant by a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.access.shares import Grantee
from flyinglow.workspace.makers import FL
from flyinglow.workspace.model import ResourceKey
from flyinglow.wsrf.xml import clean_text, qname, text_of, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.access.shares import Share
    from flyinglow.group.sharing import SharingService
    from flyinglow.workspace.model import Kind
    from flyinglow.wsrf.modification import Modifiable
    from flyinglow.wsrf.ports import QName

SHARE: Final = qname("fl", "Share")
_NEXT: Final = qname("rl", "CurrentTime")


class SharedDirectory:
    """A directory of leased resources, with the property that says with whom each is shared."""

    def __init__(self, directory: Modifiable, sharing: SharingService, kind: Kind) -> None:
        self._directory = directory
        self._sharing = sharing
        self._kind = kind

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        names = self._directory.property_names()
        at = names.index(_NEXT)
        return (*names[:at], SHARE, *names[at:])

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        wanted = self.property_names() if names is None else names
        others = tuple(name for name in wanted if name != SHARE)
        found = dict(self._directory.properties(caller, resource, others))
        if SHARE in wanted:
            shares = self._sharing.shares(caller, ResourceKey(self._kind, resource))
            found[SHARE] = [_share(share) for share in shares]
        return found

    def destroy(self, caller: Identity, resource: str) -> None:
        """Destroy it."""
        self._directory.destroy(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Move its end."""
        return self._directory.set_termination_time(caller, resource, at)

    def mutable(self) -> Mapping[QName, tuple[int, int]]:
        """Return the properties that can be changed; who it is shared with is not one."""
        return self._directory.mutable()

    def change(self, caller: Identity, resource: str, wanted: Mapping[QName, tuple[str, ...]]) -> None:
        """Change properties."""
        self._directory.change(caller, resource, wanted)


def grantee_of(body: _Element) -> Grantee:
    """Return who is meant by a request."""
    group = text_of(body, qname("fl", "Group"))
    return Grantee(group, is_group=True) if group else Grantee(text_of(body, qname("fl", "Identity")))


def _share(share: Share) -> _Element:
    name = clean_text(share.grantee.name)
    return FL.Share(
        FL.Group(name) if share.grantee.is_group else FL.Identity(name),
        FL.Level(str(share.level)),
        FL.GrantedBy(clean_text(share.granted_by)),
        FL.GrantedAt(timestamp(share.granted_at)),
    )

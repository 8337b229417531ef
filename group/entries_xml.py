"""Groups and ensembles as service groups (WS-ServiceGroup 1.2): the rule, the entries, and each entry as a resource.

An entry says that a workspace is a member. It is nowhere written down: its id is made of the group's and the member's,
and it is there as long as both are. So it cannot be destroyed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.makers import FL, MAKERS
from flyinglow.workspace.model import Kind, ResourceKey
from flyinglow.workspace.producer_xml import lifetime
from flyinglow.workspace.visibility import unknown
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.xml import NS, qname

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.group.members import Whole
    from flyinglow.group.service import CollectionService
    from flyinglow.workspace.model import Workspace
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.ports import QName

ENTRY: Final = "entry"
"""The endpoint of entries, as a step of its URL."""

DOCUMENT: Final = qname("fl", "EntryProperties")
RULE: Final = qname("sg", "MembershipContentRule")
ENTRIES: Final = qname("sg", "Entry")
NOT_DESTROYED: Final = qname("rl", "ResourceNotDestroyedFault")

_SG: Final = MAKERS["sg"]
_GROUP, _MEMBER = qname("sg", "ServiceGroupEPR"), qname("sg", "MemberEPR")
_MEMBERS_OWN: Final = "urn:flyinglow:workspace:1:wsdl"


def entry_id(whole: ResourceKey, member: str) -> str:
    """Return the id of the entry of a member (a workspace's id)."""
    return f"{whole.kind}.{whole.id}.{member}"


def rule() -> _Element:
    """Return what members are, and what an entry's content is: workspaces, by their names."""
    names = {"wsrf-sg": NS["sg"], "fl": NS["fl"], "workspace": _MEMBERS_OWN}
    return etree.Element(RULE, MemberInterfaces="workspace:WorkspacePortType", ContentElements="fl:Name", nsmap=names)


def entries(whole: Whole, addresses: Addresses) -> list[_Element]:
    """Return one ``sg:Entry`` a member that is there."""
    return [
        _SG.Entry(
            addresses.epr(ENTRY, entry_id(whole.row.key, row.id), qname("sg", "ServiceGroupEntryEPR")),
            addresses.epr(Kind.WORKSPACE, row.id, qname("sg", "MemberServiceEPR")),
            _SG.Content(FL.Name(row.name)),
        )
        for row in whole.members
    ]


class EntryDirectory:
    """The entries behind the Entry endpoint, of groups and of ensembles."""

    def __init__(self, services: Mapping[Kind, CollectionService], addresses: Addresses, now: Now) -> None:
        self._services = services
        self._addresses = addresses
        self._now = now

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return (_GROUP, _MEMBER, qname("sg", "Content"), qname("rl", "CurrentTime"), qname("rl", "TerminationTime"))

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        key, row = self._find(caller, resource)
        made: dict[QName, Callable[[], list[_Element]]] = {
            _GROUP: lambda: [self._addresses.epr(key.kind, key.id, _GROUP)],
            _MEMBER: lambda: [self._addresses.epr(Kind.WORKSPACE, row.id, _MEMBER)],
            qname("sg", "Content"): lambda: [_SG.Content(FL.Name(row.name))],
            **lifetime(None, self._now()),
        }
        return {name: made[name]() for name in (self.property_names() if names is None else names) if name in made}

    def destroy(self, caller: Identity, resource: str) -> None:
        """Refuse: a membership ends with its member. Raises UnknownError, else ResourceNotDestroyedFault."""
        _, row = self._find(caller, resource)
        message = f"{row.name} is a member as long as it is there: destroy the workspace itself"
        raise TypedFault(NOT_DESTROYED, message)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Refuse likewise: raises UnknownError, else InvalidError."""
        self._find(caller, resource)
        raise InvalidError("a membership ends with its member")

    def _find(self, caller: Identity, resource: str) -> tuple[ResourceKey, Workspace]:
        kind, _, rest = resource.partition(".")
        whole_id, _, member = rest.partition(".")
        if kind not in {each.value for each in self._services}:
            raise unknown(Kind.GROUP)
        whole = self._services[Kind(kind)].get(caller, whole_id)
        row = next((row for row in whole.members if row.id == member), None)
        if row is None:
            raise unknown(Kind.WORKSPACE)
        return whole.row.key, row

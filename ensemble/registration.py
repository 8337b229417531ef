"""Adding a member to an ensemble, as a service group takes it (WS-ServiceGroup 1.2, section 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.group.entries_xml import ENTRY, entry_id
from flyinglow.nodectl.errors import ConflictError, UnknownError
from flyinglow.workspace.model import Kind, ResourceKey
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.xml import NIL, TRUE, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.ensemble.service import EnsembleService
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.operation import Call

ADD: Final = "http://docs.oasis-open.org/wsrf/sgw-2/ServiceGroupRegistration/Add"


def added(service: EnsembleService, call: Call, body: _Element, addresses: Addresses) -> _Element:
    """Carry out an Add, and return the reference of the new entry. Raises UnknownError, DeniedError and TypedFault."""
    service.get(call.caller, call.resource)  # what is not there is said before what is wrong with a member
    member = _member(body, addresses)
    _check_end(body)
    try:
        row = service.add(call.caller, call.resource, member)
    except ConflictError as error:
        raise TypedFault(qname("sg", "AddRefusedFault"), error.message) from None
    return addresses.epr(ENTRY, entry_id(ResourceKey(Kind.ENSEMBLE, call.resource), row.id), qname("sg", "AddResponse"))


def _member(body: _Element, addresses: Addresses) -> str:
    """Return the id of the workspace that is to be added. Raises TypedFault for anything else, and for its content."""
    reference = body.find(qname("sg", "MemberEPR"))
    try:
        if reference is None or reference.get(NIL) in TRUE:
            raise UnknownError("the entry names no member")
        kind, member = addresses.read(reference)
        if kind != Kind.WORKSPACE:
            raise UnknownError(f"members of an ensemble are workspaces; this is a {kind}")
    except UnknownError as error:
        raise TypedFault(qname("sg", "UnsupportedMemberInterfaceFault"), error.message) from None
    content = body.find(qname("sg", "Content"))
    if content is not None and len(content):
        message = "the content of an entry is its member's own name: leave it out"
        raise TypedFault(qname("sg", "ContentCreationFailedFault"), message)
    return member


def _check_end(body: _Element) -> None:
    end = body.find(qname("sg", "InitialTerminationTime"))
    if end is not None and text_of(body, end.tag):
        raise TypedFault(qname("sg", "AddRefusedFault"), "a membership ends with its member: leave its end out")

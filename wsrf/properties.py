"""WS-ResourceProperties 1.2: reading the properties of a resource, fresh from where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, PREFIX, E, qname, qname_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxml.etree import _Element

    from flyinglow.wsrf.ports import ResourceDirectory

STEM: Final = "http://docs.oasis-open.org/wsrf/rpw-2/"
INVALID_NAME: Final = qname("rp", "InvalidResourcePropertyQNameFault")

_ONE, _MANY, _ALL = "GetResourceProperty", "GetMultipleResourceProperties", "GetResourcePropertyDocument"


def port(directory: ResourceDirectory, document: str) -> type[ServiceBase]:
    """Return the service that reads what ``directory`` knows; ``document`` names the whole document's root element."""
    known = frozenset(directory.property_names())

    def read(ctx: Any, names: Sequence[str]) -> list[_Element]:
        """Return the elements of these properties in the order asked for; one name that is wrong fails all."""
        for name in names:
            if name not in known:
                raise TypedFault(INVALID_NAME, f"{name[:200]} is not a property of this resource")
        call = call_of(ctx)
        wanted = tuple(dict.fromkeys(names))
        found = directory.properties(call.caller, call.resource, wanted)
        return [element for name in wanted for element in found.get(name, ())]

    class ResourceProperties(ServiceBase):
        @operation(qname("rp", _ONE), action=f"{STEM}{_ONE}/{_ONE}")
        def get_resource_property(ctx: Any, body: _Element) -> Any:
            return E["rp"].GetResourcePropertyResponse(*read(ctx, [qname_value(body)]))

        @operation(qname("rp", _MANY), action=f"{STEM}{_MANY}/{_MANY}")
        def get_multiple_resource_properties(ctx: Any, body: _Element) -> Any:
            names = [qname_value(child) for child in body]
            return E["rp"].GetMultipleResourcePropertiesResponse(*read(ctx, names))

        @operation(qname("rp", _ALL), action=f"{STEM}{_ALL}/{_ALL}")
        def get_resource_property_document(ctx: Any, body: _Element) -> Any:
            call = call_of(ctx)
            found = directory.properties(call.caller, call.resource, None)
            uri = document[1:].partition("}")[0]
            root = etree.Element(document, nsmap={PREFIX.get(uri, "q"): uri, "fl": NS["fl"]})
            for name in directory.property_names():
                root.extend(found.get(name, ()))
            return E["rp"].GetResourcePropertyDocumentResponse(root)

    return ResourceProperties

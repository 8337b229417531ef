"""WS-ResourceProperties 1.2: the properties of a resource, read and queried fresh from where they are kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.nodectl.errors import ExhaustedError, InvalidError
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.operation import Call, ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, PREFIX, E, clean_text, qname, qname_value
from flyinglow.wsrf.xpath.evaluator import DIALECT, Query, query_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lxml.etree import _Element

    from flyinglow.wsrf.ports import ResourceDirectory
    from flyinglow.wsrf.xpath.evaluator import Part, XPath

STEM: Final = "http://docs.oasis-open.org/wsrf/rpw-2/"
INVALID_NAME: Final = qname("rp", "InvalidResourcePropertyQNameFault")
UNKNOWN_DIALECT: Final = qname("rp", "UnknownQueryExpressionDialectFault")
INVALID_QUERY: Final = qname("rp", "InvalidQueryExpressionFault")
FAILED_QUERY: Final = qname("rp", "QueryEvaluationErrorFault")
DIALECTS: Final = qname("rp", "QueryExpressionDialect")

_ONE, _MANY, _ALL = "GetResourceProperty", "GetMultipleResourceProperties", "GetResourcePropertyDocument"
_QUERY: Final = "QueryResourceProperties"


class _Reader:
    """Reads what a directory knows; every resource has ``QueryExpressionDialect`` as well, after its own properties."""

    def __init__(self, directory: ResourceDirectory, document: str) -> None:
        self._directory = directory
        self._root = document
        self._known = frozenset((*directory.property_names(), DIALECTS))

    def read(self, call: Call, names: Sequence[str]) -> list[_Element]:
        """Return the elements of these properties in the order asked for; one name that is wrong fails all."""
        for name in names:
            if name not in self._known:
                raise TypedFault(INVALID_NAME, f"{name[:200]} is not a property of this resource")
        wanted = tuple(dict.fromkeys(names))
        own = tuple(name for name in wanted if name != DIALECTS)
        found = {**self._directory.properties(call.caller, call.resource, own), DIALECTS: [_dialect()]}
        return [element for name in wanted for element in found.get(name, ())]

    def document(self, call: Call) -> _Element:
        """Return the whole resource property document."""
        return whole(self._directory, call, self._root)


def whole(directory: ResourceDirectory, call: Call, document: str) -> _Element:
    """Return the whole resource property document of a call's resource; ``document`` names its root element."""
    found = directory.properties(call.caller, call.resource, None)
    uri = document[1:].partition("}")[0]
    root = etree.Element(document, nsmap={PREFIX.get(uri, "q"): uri, "fl": NS["fl"]})
    for name in directory.property_names():
        root.extend(found.get(name, ()))
    root.append(_dialect())
    return root


def port(directory: ResourceDirectory, document: str, xpath: XPath) -> type[ServiceBase]:
    """Return the service that reads what ``directory`` knows; ``document`` names the whole document's root element."""
    reader = _Reader(directory, document)

    class ResourceProperties(ServiceBase):
        @operation(qname("rp", _ONE), action=f"{STEM}{_ONE}/{_ONE}")
        def get_resource_property(ctx: Any, body: _Element) -> Any:
            return E["rp"].GetResourcePropertyResponse(*reader.read(call_of(ctx), [qname_value(body)]))

        @operation(qname("rp", _MANY), action=f"{STEM}{_MANY}/{_MANY}")
        def get_multiple_resource_properties(ctx: Any, body: _Element) -> Any:
            names = [qname_value(child) for child in body]
            return E["rp"].GetMultipleResourcePropertiesResponse(*reader.read(call_of(ctx), names))

        @operation(qname("rp", _ALL), action=f"{STEM}{_ALL}/{_ALL}")
        def get_resource_property_document(ctx: Any, body: _Element) -> Any:
            return E["rp"].GetResourcePropertyDocumentResponse(reader.document(call_of(ctx)))

        @operation(qname("rp", _QUERY), action=f"{STEM}{_QUERY}/{_QUERY}")
        def query_resource_properties(ctx: Any, body: _Element) -> Any:
            query = _checked(body[0], xpath)
            text = etree.tostring(reader.document(call_of(ctx)))
            with _failing(FAILED_QUERY):
                return _answer(xpath.select(text, query))

    return ResourceProperties


def _dialect() -> _Element:
    element: _Element = E["rp"].QueryExpressionDialect(DIALECT)
    return element


def _checked(expression: _Element, xpath: XPath) -> Query:
    if (dialect := expression.get("Dialect", "").strip()) != DIALECT:
        raise TypedFault(UNKNOWN_DIALECT, f"{dialect[:200]} is not known here; {DIALECT} is")
    query = query_at(expression)
    with _failing(INVALID_QUERY):
        xpath.check(query)
    return query


@contextmanager
def _failing(fault: str) -> Iterator[None]:
    try:
        yield
    except (InvalidError, ExhaustedError) as error:
        raise TypedFault(fault, error.message) from error


def _answer(parts: Sequence[Part]) -> _Element:
    """Return what was selected: elements as they are, texts (of attributes, numbers, truths) one a line."""
    answer: _Element = E["rp"].QueryResourcePropertiesResponse()
    texts = [part.text for part in parts if not part.is_element]
    if texts:
        answer.text = clean_text("\n".join(texts))
    answer.extend(etree.fromstring(part.text) for part in parts if part.is_element)
    return answer

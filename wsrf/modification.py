"""WS-ResourceProperties 1.2: the messages that change properties, for the few properties that can be changed.

The components of a request (Insert, Update, Delete; SetResourceProperties has any number of them, the operations named
after them one each) are applied in their order to what the properties are now. PutResourcePropertyDocument has the
properties as they are to be. What comes out is handed to the directory at once, which makes all of it true or nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from lxml import etree

from flyinglow.nodectl.errors import ConflictError, InvalidError
from flyinglow.wsrf.contract import Contract, ContractError
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.operation import Call, ServiceBase, call_of, operation
from flyinglow.wsrf.ports import QName, ResourceDirectory
from flyinglow.wsrf.properties import DIALECTS, INVALID_NAME, STEM, whole
from flyinglow.wsrf.xml import E, qname, qname_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity

INVALID: Final = qname("rp", "InvalidModificationFault")
UNABLE: Final = qname("rp", "UnableToModifyResourcePropertyFault")
UNABLE_TO_PUT: Final = qname("rp", "UnableToPutResourcePropertyDocumentFault")
FAILED: Final = {
    "SetResourceProperties": qname("rp", "SetResourcePropertyRequestFailedFault"),
    "InsertResourceProperties": qname("rp", "InsertResourcePropertiesRequestFailedFault"),
    "UpdateResourceProperties": qname("rp", "UpdateResourcePropertiesRequestFailedFault"),
    "DeleteResourceProperties": qname("rp", "DeleteResourcePropertiesRequestFailedFault"),
}
"""The operations that have components, each with the fault for what cannot be done now."""

_PUT: Final = "PutResourcePropertyDocument"
_INSERT, _DELETE = qname("rp", "Insert"), qname("rp", "Delete")


class Modifiable(ResourceDirectory, Protocol):
    """A directory some of whose properties can be changed. They are simple: an element with a text."""

    def mutable(self) -> Mapping[QName, tuple[int, int]]:
        """Return the properties that can be changed, with the least and the most elements that each may have."""

    def change(self, caller: Identity, resource: str, wanted: Mapping[QName, tuple[str, ...]]) -> None:
        """Give these properties these texts, all or none.

        Raises UnknownError; InvalidError for what they cannot be (InvalidModificationFault), and ConflictError for
        what cannot be done now (the operation's own fault).
        """


def port(directory: Modifiable, document: str) -> type[ServiceBase]:
    """Return the service that changes what ``directory`` lets be changed; ``document`` names the document's root."""

    def changing(name: str, fault: str) -> Any:
        def apply(ctx: Any, body: _Element) -> Any:
            call = call_of(ctx)
            request = _Request(directory, call)
            for component in body:
                request.apply(component)
            _carry_out(request, directory, call, fault)
            return E["rp"](name + "Response")

        apply.__name__ = name  # Spyne tells operations apart by it
        return operation(qname("rp", name), action=f"{STEM}{name}/{name}")(apply)

    def put(ctx: Any, body: _Element) -> Any:
        call, (wanted,) = call_of(ctx), body
        request = _Request(directory, call)
        with _unable_to_put():
            request.replace(wanted, document)
            _carry_out(request, directory, call, UNABLE_TO_PUT)
        made = whole(directory, call, document)
        return E["rp"].PutResourcePropertyDocumentResponse(*([] if _same(made, wanted) else [made]))

    published = {name: changing(name, fault) for name, fault in FAILED.items()}
    published[_PUT] = operation(qname("rp", _PUT), action=f"{STEM}{_PUT}/{_PUT}")(put)
    service: type[ServiceBase] = type(ServiceBase)("Modification", (ServiceBase,), published)
    return service


class _Request:
    """The properties that can be changed as a request makes them, component by component."""

    def __init__(self, directory: Modifiable, call: Call) -> None:
        self._bounds = directory.mutable()
        self._known = frozenset(directory.property_names())
        found = directory.properties(call.caller, call.resource, tuple(self._bounds))
        self.before = {name: list(found.get(name, ())) for name in self._bounds}
        self.after: dict[QName, list[_Element]] = {}

    def apply(self, component: _Element) -> None:
        """Carry out one component. Raises TypedFault for a property that is not there, or cannot be changed."""
        if component.tag == _DELETE:
            name = qname_value(component, component.get("ResourceProperty", ""))
            if name not in self._known:
                raise TypedFault(INVALID_NAME, f"{name[:200]} is not a property of this resource")
            self._require_mutable(name, [])
            self.after[name] = []
            return
        values = list(component)
        for name in dict.fromkeys(str(value.tag) for value in values):
            given = [value for value in values if value.tag == name]
            if name not in self._known:
                raise self.fault(INVALID, f"{name[:200]} is not a property of this resource", requested=given)
            self._require_mutable(name, given)
            self._validate(name, given)
            kept = self.after.get(name, self.before[name]) if component.tag == _INSERT else []
            self.after[name] = [*kept, *given]

    def replace(self, document: _Element, root: str) -> None:
        """Take from a whole document what can be changed and is to be other than it is; all else is left as it is."""
        if document.tag != root:
            raise self.fault(INVALID, f"the document of this resource is {root}")
        if unknown := [value for value in document if value.tag not in self._known | {DIALECTS}]:
            message = f"{str(unknown[0].tag)[:200]} is not a property of this resource"
            raise self.fault(INVALID, message, requested=unknown[:1])
        for name in self._bounds:
            given = list(document.iterchildren(name))
            if [_text(value) for value in given] != [_text(value) for value in self.before[name]]:
                self._validate(name, given)
                self.after[name] = given

    def check(self) -> None:
        """Raise TypedFault when a property would have too few or too many elements."""
        for name, values in self.after.items():
            least, most = self._bounds[name]
            if not least <= len(values) <= most:
                message = f"{name} has {least} to {most} elements; it would have {len(values)}"
                raise self.fault(INVALID, message, self.before[name], values)

    def wanted(self) -> dict[QName, tuple[str, ...]]:
        """Return the texts that the request's properties are to have."""
        return {name: tuple(map(_text, values)) for name, values in self.after.items()}

    def fault(
        self, element: str, message: str, current: Sequence[_Element] = (), requested: Sequence[_Element] = ()
    ) -> TypedFault:
        """Return a fault that tells what is, what was asked for, and that all is as it was."""
        failure = E["rp"].ResourcePropertyChangeFailure(Restored="true")
        # what does not fit the schemas would make the fault as invalid as the request
        for tag, values in (("CurrentValue", current), ("RequestedValue", list(filter(_fits, requested)))):
            if values:
                failure.append(E["rp"](tag, *map(_copy, values)))
        return TypedFault(element, message, children=[failure])

    def failed(self, element: str, message: str) -> TypedFault:
        """Return the fault of a whole request that was refused."""
        current = [value for name in self.after for value in self.before[name]]
        return self.fault(element, message, current, [value for values in self.after.values() for value in values])

    def _require_mutable(self, name: QName, requested: Sequence[_Element]) -> None:
        if name not in self._bounds:
            raise self.fault(UNABLE, f"{name} cannot be changed", requested=requested)

    def _validate(self, name: QName, values: Sequence[_Element]) -> None:
        for value in values:
            try:
                Contract.packaged().validate(_copy(value))
            except ContractError as error:
                raise self.fault(INVALID, str(error), self.before[name]) from None


def _copy(element: _Element) -> _Element:
    return etree.fromstring(etree.tostring(element, with_tail=False))


def _fits(value: _Element) -> bool:
    try:
        Contract.packaged().validate(_copy(value))
    except ContractError:
        return False
    return True


def _text(element: _Element) -> str:
    return (element.text or "").strip()


def _same(one: _Element, other: _Element) -> bool:
    """Say whether two elements are the same for whoever reads them, however they are indented."""
    return ((one.tag, one.attrib, _text(one), len(one)) == (other.tag, other.attrib, _text(other), len(other))) and all(
        map(_same, one, other)
    )


def _carry_out(request: _Request, directory: Modifiable, call: Call, failed: str) -> None:
    """Have all of a request made true, or nothing; what a directory raises becomes the faults of the standard."""
    request.check()
    try:
        directory.change(call.caller, call.resource, request.wanted())
    except InvalidError as error:
        raise request.failed(INVALID, error.message) from error
    except ConflictError as error:
        raise request.failed(failed, error.message) from error


@contextmanager
def _unable_to_put() -> Iterator[None]:
    """Turn what is wrong with a property into the one fault that this message has for all of it."""
    try:
        yield
    except TypedFault as error:
        raise TypedFault(UNABLE_TO_PUT, error.message, children=error.children) from error

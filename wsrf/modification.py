"""WS-ResourceProperties 1.2, section 6: SetResourceProperties, for the few properties that can be changed.

The components of a request (Insert, Update, Delete) are applied in their order to what the properties are now; what
comes out is handed to the directory at once, which makes all of it true or nothing.
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
from flyinglow.wsrf.properties import INVALID_NAME, STEM
from flyinglow.wsrf.xml import E, qname, qname_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity

INVALID: Final = qname("rp", "InvalidModificationFault")
UNABLE: Final = qname("rp", "UnableToModifyResourcePropertyFault")
FAILED: Final = qname("rp", "SetResourcePropertyRequestFailedFault")

_SET: Final = "SetResourceProperties"
_INSERT, _DELETE = qname("rp", "Insert"), qname("rp", "Delete")


class Modifiable(ResourceDirectory, Protocol):
    """A directory some of whose properties can be changed. They are simple: an element with a text."""

    def mutable(self) -> Mapping[QName, tuple[int, int]]:
        """Return the properties that can be changed, with the least and the most elements that each may have."""

    def change(self, caller: Identity, resource: str, wanted: Mapping[QName, tuple[str, ...]]) -> None:
        """Give these properties these texts, all or none.

        Raises UnknownError; InvalidError for what they cannot be (InvalidModificationFault), and ConflictError for
        what cannot be done now (SetResourcePropertyRequestFailedFault).
        """


def port(directory: Modifiable) -> type[ServiceBase]:
    """Return the service that changes what ``directory`` lets be changed."""

    class Modification(ServiceBase):
        @operation(qname("rp", _SET), action=f"{STEM}{_SET}/{_SET}")
        def set_resource_properties(ctx: Any, body: _Element) -> Any:
            call = call_of(ctx)
            request = _Request(directory, call)
            for component in body:
                request.apply(component)
            request.check()
            with _typed(request):
                directory.change(call.caller, call.resource, request.wanted())
            return E["rp"].SetResourcePropertiesResponse()

    return Modification


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

    def check(self) -> None:
        """Raise TypedFault when a property would have too few or too many elements."""
        for name, values in self.after.items():
            least, most = self._bounds[name]
            if not least <= len(values) <= most:
                message = f"{name} has {least} to {most} elements; it would have {len(values)}"
                raise self.fault(INVALID, message, self.before[name], values)

    def wanted(self) -> dict[QName, tuple[str, ...]]:
        """Return the texts that the request's properties are to have."""
        return {name: tuple((value.text or "").strip() for value in values) for name, values in self.after.items()}

    def fault(
        self, element: str, message: str, current: Sequence[_Element] = (), requested: Sequence[_Element] = ()
    ) -> TypedFault:
        """Return a fault that tells what is, what was asked for, and that all is as it was."""
        failure = E["rp"].ResourcePropertyChangeFailure(Restored="true")
        for tag, values in (("CurrentValue", current), ("RequestedValue", requested)):
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
                # the value itself would make the fault as invalid as the request
                raise self.fault(INVALID, str(error), self.before[name]) from None


def _copy(element: _Element) -> _Element:
    return etree.fromstring(etree.tostring(element, with_tail=False))


@contextmanager
def _typed(request: _Request) -> Iterator[None]:
    """Turn what a directory raises into the faults of the standard."""
    try:
        yield
    except InvalidError as error:
        raise request.failed(INVALID, error.message) from error
    except ConflictError as error:
        raise request.failed(FAILED, error.message) from error

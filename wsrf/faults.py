"""The one table from errors to SOAP faults.

What a service raises becomes a fault whose detail is one element of a type derived from bf:BaseFaultType
(WS-BaseFaults 1.2). Of an exception that nobody raised on purpose nothing is told but an incident id.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.nodectl import errors
from flyinglow.wsrf.spyne_shim import Fault
from flyinglow.wsrf.xml import NS, PREFIX, E, clean_text, local_name, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lxml.etree import _Element

ACTION_WSRF: Final = "http://docs.oasis-open.org/wsrf/fault"
ACTION_WSN: Final = "http://docs.oasis-open.org/wsn/fault"
ACTION_SOAP: Final = "http://www.w3.org/2005/08/addressing/soap/fault"
ACTION_WSA: Final = "http://www.w3.org/2005/08/addressing/fault"

RESOURCE_UNKNOWN: Final = qname("r", "ResourceUnknownFault")
RESOURCE_UNAVAILABLE: Final = qname("r", "ResourceUnavailableFault")
CODES: Final = NS["fl"] + ":errors"
"""The dialect of error codes: a kind of the error tree, or the name of a fault that a standard has."""

# SOAP's own word for whose side it is on: the message's (Client) or the service's, where a retry may help (Server).
_TABLE: Final[dict[type[errors.FlyingLowError], tuple[str, str]]] = {
    errors.UnknownError: (RESOURCE_UNKNOWN, "Client"),
    errors.InvalidError: (qname("fl", "InvalidFault"), "Client"),
    errors.DeniedError: (qname("fl", "DeniedFault"), "Client"),
    errors.NeverError: (qname("fl", "NeverFault"), "Client"),
    errors.ConflictError: (qname("fl", "ConflictFault"), "Client"),
    errors.ExhaustedError: (qname("fl", "ExhaustedFault"), "Server"),
    errors.TransientError: (qname("fl", "TransientFault"), "Server"),
    errors.BrokenError: (qname("fl", "BrokenFault"), "Server"),
}
_TEXT_LIMIT = 4000


class TypedFault(errors.FlyingLowError):
    """A fault whose detail element a standard names. Raised by services, rendered here.

    ``children`` are what that fault's type adds after bf:BaseFaultType; ``code`` is ``Client`` or ``Server``;
    ``action`` is the WS-Addressing action of the fault message.
    """

    kind = "typed"

    def __init__(
        self,
        element: str,
        message: str,
        *,
        children: Sequence[_Element] = (),
        action: str = ACTION_WSRF,
        code: str = "Client",
    ) -> None:
        super().__init__(message)
        self.element = element
        self.children = tuple(children)
        self.action = action
        self.code = code


class Raised(Fault):
    """Carries any exception of an operation through Spyne, which would otherwise show its text to the caller."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Server", "")
        self.cause = cause


class SoapFault(Fault):
    """A fault of SOAP or WS-Addressing itself: the message could not be handed to an operation.

    ``code`` is Client, Server, MustUnderstand or VersionMismatch; ``subcode`` a name in the addressing name space.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        subcode: str = "",
        subsubcode: str = "",
        problem: _Element | None = None,
        not_understood: tuple[str, ...] = (),
    ) -> None:
        super().__init__(code, message)
        self.subcode = subcode
        self.subsubcode = subsubcode
        self.problem = problem
        self.not_understood = not_understood


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """All that is needed to write a fault in either version of SOAP.

    ``kind`` is a word for the log; ``unexpected`` the exception that nobody raised on purpose, if it was one.
    """

    code: str
    message: str
    action: str
    kind: str
    detail: _Element | None = None
    subcode: str = ""
    subsubcode: str = ""
    problem: _Element | None = None
    not_understood: tuple[str, ...] = ()
    unexpected: Exception | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """When and where a fault happened: ``incident`` goes into the faults that have a place for it.

    ``originator`` is the URL of the resource, or of the service, that was asked. ``standard``: by an operation of WSRF
    or WS-Notification on a resource, which has the fault of WS-Resource for one that cannot be reached now.
    """

    at: datetime
    incident: str = ""
    originator: str = ""
    standard: bool = False


def render(error: Exception, scene: Scene) -> Rendered:
    """Turn any exception into a fault."""
    if isinstance(error, Raised):
        error = error.cause
    if isinstance(error, SoapFault):
        return _of_soap(error)
    if isinstance(error, TypedFault):
        message = clean_text(error.message)[:_TEXT_LIMIT]
        detail = _base(error.element, scene, message, local_name(error.element))
        detail.extend(error.children)
        return Rendered(code=error.code, message=message, action=error.action, kind="typed", detail=detail)
    if isinstance(error, errors.FlyingLowError):
        return _unavailable(error, scene) if scene.standard and _is_passing(error) else _of_tree(error, scene)
    if isinstance(error, Fault) and error.faultcode.startswith("Client"):
        return Rendered(code="Client", message="the message was not understood", action=ACTION_SOAP, kind="soap")
    hidden = errors.BrokenError(f"the service failed; its operator finds the cause under incident {scene.incident}")
    fault = _of_tree(hidden, scene)
    return Rendered(
        code=fault.code, message=fault.message, action=fault.action, kind="bug", detail=fault.detail, unexpected=error
    )


def member_fault(tag: str, error: Exception, scene: Scene) -> _Element:
    """Return an error as an element named ``tag`` of type fl:FaultType, for an answer that holds one result a member.

    An exception that nobody raised on purpose shows nothing of itself.
    """
    if not isinstance(error, errors.FlyingLowError):
        error = errors.BrokenError("the service failed")
    detail = _base(tag, scene, clean_text(error.message)[:_TEXT_LIMIT], error.kind)
    _tell_kind(detail, error, scene.incident)
    return detail


def _of_soap(error: SoapFault) -> Rendered:
    return Rendered(
        code=error.faultcode,
        message=clean_text(error.faultstring)[:_TEXT_LIMIT],
        action=ACTION_WSA if error.subcode else ACTION_SOAP,
        kind="soap",
        subcode=error.subcode,
        subsubcode=error.subsubcode,
        problem=error.problem,
        not_understood=error.not_understood,
    )


def _is_passing(error: errors.FlyingLowError) -> bool:
    return isinstance(error, errors.TransientError)


def _unavailable(error: errors.FlyingLowError, scene: Scene) -> Rendered:
    """Return WS-Resource's fault for a resource that is there but cannot be reached now, with the cause inside."""
    cause = _of_tree(error, scene)
    detail = _base(RESOURCE_UNAVAILABLE, scene, cause.message, local_name(RESOURCE_UNAVAILABLE))
    if cause.detail is not None:
        detail.append(E["bf"].FaultCause(cause.detail))
    return replace(cause, detail=detail)


def _of_tree(error: errors.FlyingLowError, scene: Scene) -> Rendered:
    element, code = next(
        (_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE),
        _TABLE[errors.BrokenError],
    )
    message = clean_text(error.message)[:_TEXT_LIMIT]
    detail = _base(element, scene, message, error.kind)
    if element != RESOURCE_UNKNOWN:
        _tell_kind(detail, error, scene.incident)
    return Rendered(code=code, message=message, action=ACTION_WSRF, kind=error.kind, detail=detail)


def _tell_kind(detail: _Element, error: errors.FlyingLowError, incident: str) -> None:
    fl = E["fl"]
    detail.append(fl.Kind(error.kind))
    detail.append(fl.Retryable("true" if error.retryable else "false"))
    if incident:
        detail.append(fl.Incident(incident))
    detail.extend(fl.Figure(str(figure), name=clean_text(name)) for name, figure in sorted(error.figures.items()))


def _base(element: str, scene: Scene, message: str, code: str) -> _Element:
    """Return a fault with all that bf:BaseFaultType has, but a cause."""
    uri = element[1:].partition("}")[0]
    detail = etree.Element(element, nsmap={PREFIX.get(uri, "q"): uri, "bf": NS["bf"]})
    detail.append(E["bf"].Timestamp(timestamp(scene.at)))
    if scene.originator:
        detail.append(E["bf"].Originator(E["wsa"].Address(scene.originator)))
    detail.append(E["bf"].ErrorCode(code, dialect=CODES))
    detail.append(E["bf"].Description(message))
    return detail

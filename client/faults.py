"""Turns a SOAP fault into the error tree: by the fault's own kind first, by its element, then by its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.client.names import NS, clark
from flyinglow.client.reading import child, elements, text
from flyinglow.nodectl.errors import (
    BrokenError,
    ConflictError,
    DeniedError,
    FlyingLowError,
    InvalidError,
    TransientError,
    UnknownError,
    from_wire,
)

if TYPE_CHECKING:
    from lxml.etree import _Element

_BY_ELEMENT: Final = {
    clark("r:ResourceUnknownFault"): UnknownError,
    clark("r:ResourceUnavailableFault"): TransientError,
    clark("rl:ResourceNotDestroyedFault"): TransientError,
    clark("rl:TerminationTimeChangeRejectedFault"): DeniedError,
    clark("rp:SetResourcePropertyRequestFailedFault"): ConflictError,
    clark("sg:AddRefusedFault"): ConflictError,
    clark("wsnt:SubscribeCreationFailedFault"): DeniedError,
}
_BY_STATUS: Final = {403: DeniedError, 404: UnknownError, 408: TransientError, 413: InvalidError, 503: TransientError}


def find(envelope: _Element) -> _Element | None:
    """Return the fault in an envelope of either version of SOAP, if there is one."""
    for soap in ("s11", "s12"):
        found = envelope.find(f"{clark(soap + ':Body')}/{clark(soap + ':Fault')}")
        if found is not None:
            return found
    return None


def read(fault: _Element) -> FlyingLowError:
    """Return the error that a Fault element stands for."""
    detail = _detail(fault)
    if detail is None:
        return _plain(fault, _said(fault))
    return read_detail(detail, fallback=_said(fault), sender=_is_sender(fault))


def read_detail(
    detail: _Element, *, fallback: str = "the service gave no reason", sender: bool = False
) -> FlyingLowError:
    """Return the error that an element derived from bf:BaseFaultType stands for."""
    holder = child(detail, "bf:FaultCause")
    cause = None if holder is None else next(elements(holder), None)
    if cause is not None and text(cause, "fl:Kind"):
        return read_detail(cause, fallback=fallback, sender=sender)
    message = text(detail, "bf:Description") or fallback
    kind = text(detail, "fl:Kind")
    if kind:
        error = from_wire(kind, message, _figures(detail))
    elif known := _BY_ELEMENT.get(str(detail.tag)):
        error = known(message)
    else:
        error = (InvalidError if sender else BrokenError)(message)
    error.incident = text(detail, "fl:Incident")
    return error


def of_status(status: int, url: str) -> FlyingLowError:
    """Return the error for an answer that is not a SOAP message at all."""
    message = f"{url} answered with HTTP status {status} and no SOAP message"
    return _BY_STATUS.get(status, BrokenError)(message)


def _figures(detail: _Element) -> dict[str, int]:
    return {each.get("name", ""): int(each.text or 0) for each in detail.iterfind(clark("fl:Figure"))}


def _detail(fault: _Element) -> _Element | None:
    found = fault.find("detail")
    if found is None:
        found = child(fault, "s12:Detail")
    return None if found is None else next(elements(found), None)


def _said(fault: _Element) -> str:
    found = fault.findtext("faultstring") or fault.findtext(f"{clark('s12:Reason')}/{clark('s12:Text')}")
    return (found or "the service gave no reason").strip()


def _is_sender(fault: _Element) -> bool:
    code = fault.findtext("faultcode") or fault.findtext(f"{clark('s12:Code')}/{clark('s12:Value')}") or ""
    prefix, _, local = code.strip().rpartition(":")
    return local in {"Client", "Sender", "MustUnderstand", "VersionMismatch"} or fault.nsmap.get(prefix) == NS["wsa"]


def _plain(fault: _Element, message: str) -> FlyingLowError:
    return (InvalidError if _is_sender(fault) else BrokenError)(message)

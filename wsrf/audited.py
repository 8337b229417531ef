"""What an endpoint tells of each call when it is over: who asked for what, from where, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.wsrf.xml import local_name, qname

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.access.identity import Identity
    from flyinglow.wsrf.operation import Exchange

DONE: Final = "done"
_RESOURCE_ID: Final = qname("fl", "ResourceID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One call that is over. Texts are as the caller wrote them: whoever shows them escapes them.

    ``element`` is the request's name in Clark notation; "" for a call that was refused, or not understood, before its
    operation was known: then ``operation`` is what the HTTP header named. ``made`` is the id of what a call made.
    ``outcome`` is "done" or the local name of the fault, ``incident`` names the fault in the service's log.
    """

    at: datetime
    caller: Identity
    peer: str
    endpoint: str
    element: str
    operation: str
    resource: str
    message_id: str
    outcome: str
    incident: str = ""
    made: str = ""
    refused: bool = False


def audited(endpoint: str, exchange: Exchange, result: Any, *, refused: bool) -> Audited:
    """Return what is told of an exchange that is over; ``result`` is the response element, if there is one."""
    inbound, fault = exchange.inbound, exchange.fault
    named = exchange.route.element if exchange.route else ""
    resource = exchange.call.resource if exchange.call else exchange.addressing.resource or inbound.resource or ""
    return Audited(
        at=exchange.received_at,
        caller=inbound.caller,
        peer=inbound.peer,
        endpoint=endpoint,
        element=named,
        operation=local_name(named) if named else _action(inbound.soap_action),
        resource=resource,
        message_id=exchange.addressing.message_id or "",
        outcome=DONE if fault is None else _fault(fault.detail, fault.subsubcode or fault.subcode or fault.code),
        incident=exchange.incident,
        made=_made(result) if fault is None else "",
        refused=refused,
    )


def _action(action: str | None) -> str:
    return (action or "").rstrip("/").rpartition("/")[2].removesuffix("Request")


def _fault(detail: Any, code: str) -> str:
    return code if detail is None else local_name(detail.tag)


def _made(result: Any) -> str:
    found = next(result.iter(_RESOURCE_ID), None) if etree.iselement(result) else None
    return "" if found is None else (found.text or "")

"""How a service declares its operations: whole elements in, whole elements out, in whatever name space they belong to.

Arguments are not taken apart by Spyne: reading the validated lxml element directly is about ten times faster than
typed models, and the schemas have checked it already.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyinglow.wsrf.addressing import Addressing
from flyinglow.wsrf.faults import Raised, Rendered
from flyinglow.wsrf.spyne_shim import AnyXml, ServiceBase, rpc
from flyinglow.wsrf.xml import local_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.wsrf.envelope import Envelope

__all__ = ["Call", "Exchange", "Raw", "Route", "ServiceBase", "call_of", "operation"]


class Raw(AnyXml):
    """The whole body child as an lxml element, both ways (Spyne's AnyXml would drop the root element)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an operation may know about the call besides the body.

    ``resource`` is the id from the EPR ("" when the endpoint is itself the resource), ``operation`` the request's
    local name, ``headers`` every SOAP header that is neither addressing nor the resource's id.
    """

    caller: Identity
    resource: str
    peer: str
    received_at: datetime
    operation: str
    headers: tuple[_Element, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One request as the transport hands it over; ``soap`` is "1.1" or "1.2", ``resource`` the id in the URL if any."""

    body: bytes
    soap: str
    caller: Identity
    peer: str
    charset: str | None = None
    soap_action: str | None = None
    resource: str | None = None


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request on its way through the endpoint; lives in Spyne's ``ctx.udc``."""

    inbound: Inbound
    received_at: datetime
    answer_id: str
    addressing: Addressing = field(default_factory=Addressing)
    envelope: Envelope | None = None
    route: Route | None = None
    call: Call | None = None
    fault: Rendered | None = None
    incident: str = ""
    quiet: bool = False  # not worth a line of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What an operation was declared with. ``actions`` are all input actions that fit; the first is published."""

    element: str
    actions: tuple[str, ...]
    response: str
    response_action: str
    one_way: bool

    @property
    def standard(self) -> bool:
        """Say whether the operation is one of WSRF or WS-Notification, not one of our own."""
        return self.element.startswith("{http://docs.oasis-open.org/")


def operation(
    element: str,
    *,
    action: str,
    response: str | None = None,
    one_way: bool = False,
    also: Sequence[str] = (),
) -> Callable[[Callable[[Any, _Element], Any]], Any]:
    """Publish a function of a ServiceBase as the operation whose request is ``element`` (a Clark name).

    ``action`` is the stem of the actions ("Request" and "Response" are added; a one-way operation's is used as it
    is); ``also`` names further stems that clients use for the same message. The function takes (ctx, body) and
    returns the response element, freshly made, or an awaitable of it.
    """
    suffix = "" if one_way else "Request"
    route = Route(
        element=element,
        actions=tuple(stem + suffix for stem in (action, *also)),
        response=response or element + "Response",
        response_action=action + "Response",
        one_way=one_way,
    )

    def publish(function: Callable[[Any, _Element], Any]) -> Any:
        @functools.wraps(function)
        def guarded(ctx: Any, body: _Element) -> Any:
            try:
                return function(ctx, body)
            except Exception as error:  # the edge: each becomes a fault, faults.py says which
                raise Raised(error) from error

        return rpc(
            Raw,
            _returns=Raw,
            _body_style="bare",
            _in_message_name=element,
            _out_message_name=route.response,
            _udd={"route": route},
        )(guarded)

    return publish


def call_of(ctx: Any) -> Call:
    """Return what an operation may know about its call."""
    call: Call = ctx.udc.call
    return call


def make_call(exchange: Exchange, resource: str) -> Call:
    """Return the Call for an exchange whose envelope has been read and routed."""
    route, inbound = exchange.route, exchange.inbound
    return Call(
        caller=inbound.caller,
        resource=resource,
        peer=inbound.peer,
        received_at=exchange.received_at,
        operation=local_name(route.element) if route else "",
        headers=exchange.addressing.others,
    )

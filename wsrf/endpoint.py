"""One endpoint: several Spyne services behind one URL; bytes in, bytes out, on whatever thread it is called.

An operation that returns an awaitable frees its thread: ``handle`` then answers with Pending, the transport waits on
the reactor and calls ``finish`` on a thread again.
"""

from __future__ import annotations

import inspect
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lxml import etree

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.nodectl.errors import DeniedError
from flyinglow.wsrf import faults
from flyinglow.wsrf.addressing import Addressing
from flyinglow.wsrf.audited import Audited, audited
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.envelope import MessageLimits
from flyinglow.wsrf.fault_log import log_fault
from flyinglow.wsrf.operation import Exchange, Inbound, Route
from flyinglow.wsrf.protocol import GRIDS, Grid
from flyinglow.wsrf.spyne_shim import Application, Fault, MethodContext, ServerBase, ServiceBase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.security.signatures import Signatures

CONTENT_TYPES = {"1.1": "text/xml; charset=utf-8", "1.2": "application/soap+xml; charset=utf-8"}
_TNS = "urn:flyinglow:wsrf"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: an HTTP status and, unless nobody waits for it, a SOAP message."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that is not done: await ``awaitable`` on the reactor, then call ``finish`` with what it gave.

    ``finish`` takes the response element or the exception; it blocks and belongs on a worker thread.
    """

    awaitable: Awaitable[_Element]
    finish: Callable[[_Element | Exception], Answer]


class Endpoint:
    """Publishes ``ports`` under the URL step ``name``, by the WSDL ``wsdl_name``. Safe to use from several threads.

    ``resources`` False: the endpoint is one WS-Resource itself, as the factory is. ``on_message`` is called with
    "request", "response" or "fault" and the element in question (a fault's detail), before it is sent or acted on.
    With ``addresses`` faults say who their originator is. ``audit`` hears of each call before it is answered.
    """

    def __init__(
        self,
        name: str,
        ports: Sequence[type[ServiceBase]],
        wsdl_name: str,
        *,
        now: Callable[[], datetime],
        contract: Contract | None = None,
        resources: bool = True,
        limits: MessageLimits | None = None,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
        on_message: Callable[[str, _Element], None] | None = None,
        addresses: Addresses | None = None,
        audit: Callable[[Audited], None] = lambda _: None,
        signatures: Signatures | None = None,
    ) -> None:
        self.name = name
        self._addresses = addresses
        self.wsdl_name = wsdl_name
        self.contract = contract or Contract.packaged()
        self._now = now
        self._new_id = new_id
        self._on_message = on_message
        self._audit = audit
        self._signatures = signatures
        limits = limits or MessageLimits()
        self._servers = {
            soap: self._publish(
                ports,
                grid(self.contract, limits, resources=resources),
                grid(self.contract, limits, resources=resources),
            )
            for soap, grid in GRIDS.items()
        }

    def _publish(self, ports: Sequence[type[ServiceBase]], incoming: Grid, outgoing: Grid) -> ServerBase:
        application = Application(list(ports), _TNS, self.name, in_protocol=incoming, out_protocol=outgoing)
        incoming.learn_routes()
        incoming.signatures = self._signatures
        return ServerBase(application)

    def routes(self) -> set[tuple[str, str]]:
        """Return (request element, input action) of every operation that is published."""
        methods = self._servers["1.1"].app.interface.method_id_map.values()
        return {(method.udd["route"].element, method.udd["route"].actions[0]) for method in methods}

    def wsdl(self, address: str, schemas: str = "schemas/") -> bytes:
        """Return this endpoint's WSDL for this address."""
        return self.contract.wsdl(self.wsdl_name, address, schemas)

    def handle(self, inbound: Inbound) -> Answer | Pending:
        """Carry out one request; blocks. Never raises for anything that a caller or an operation did."""
        exchange = Exchange(inbound=inbound, received_at=self._now(), answer_id=self._new_id().urn)
        server = self._servers[inbound.soap]
        ctx = MethodContext(server, MethodContext.SERVER)
        ctx.udc = exchange
        try:
            ctx = self._run(server, ctx)
        except Exception as error:  # noqa: BLE001 # the edge: it is logged and becomes a fault
            ctx.out_error = faults.Raised(error)
        failure = ctx.in_error or ctx.out_error
        if failure is None and inspect.isawaitable(ctx.out_object[0]):
            return Pending(ctx.out_object[0], partial(self._finish, server, ctx))
        return self._answer(server, ctx, failure)

    def refuse(self, inbound: Inbound, error: Exception, *, quiet: bool = False) -> Answer:
        """Answer a request with a fault without looking into it; never waits. ``quiet``: without a line of the log."""
        exchange = Exchange(inbound=inbound, received_at=self._now(), answer_id=self._new_id().urn, quiet=quiet)
        server = self._servers[inbound.soap]
        ctx = MethodContext(server, MethodContext.SERVER)
        ctx.udc = exchange
        return self._answer(server, ctx, faults.Raised(error))

    def call(
        self,
        body: bytes,
        *,
        soap: str = "1.1",
        soap_action: str | None = None,
        resource: str | None = None,
        caller: Identity = LOCAL,
        peer: str = "test",
    ) -> Answer:
        """Carry out one request that needs no waiting. Raises TypeError when an operation wants to wait."""
        answer = self.handle(
            Inbound(body=body, soap=soap, soap_action=soap_action, resource=resource, caller=caller, peer=peer)
        )
        if isinstance(answer, Pending):
            raise TypeError("the operation waits: use handle()")
        return answer

    def _run(self, server: ServerBase, ctx: Any) -> Any:
        ctx = server.generate_contexts(ctx)[0]
        if ctx.in_error is None:
            if self._on_message:
                self._on_message("request", ctx.in_body_doc)
            server.get_in_object(ctx)
        if ctx.in_error is None:
            server.get_out_object(ctx)
        return ctx

    def _finish(self, server: ServerBase, ctx: Any, result: _Element | Exception) -> Answer:
        error = None
        if isinstance(result, Exception):
            error = ctx.out_error = faults.Raised(result)
        else:
            ctx.out_object = [result]
        return self._answer(server, ctx, error)

    def _answer(self, server: ServerBase, ctx: Any, error: Exception | None) -> Answer:
        try:
            answer = self._settle(server, ctx, error)
            made = ctx.out_object[0] if error is None and ctx.out_object else None
            refused = isinstance(error, faults.Raised) and isinstance(error.cause, DeniedError)
            self._audit(audited(self.name, ctx.udc, made, refused=refused and ctx.udc.route is None))
            return answer
        finally:
            ctx.close()
            _let_go(ctx)

    def _settle(self, server: ServerBase, ctx: Any, error: Exception | None) -> Answer:
        exchange: Exchange = ctx.udc
        try:
            if error is None:
                return self._success(server, ctx, exchange)
        except Exception as failure:  # noqa: BLE001 # what cannot be rendered becomes a fault
            error = failure
        ctx.out_error = error if isinstance(error, Fault) else faults.Raised(error)
        ctx.out_string = ctx.out_document = None
        incident = self._new_id().hex[:12]
        exchange.fault = fault = faults.render(error, self._scene(exchange, incident))
        exchange.incident = incident
        if not exchange.quiet:
            log_fault(self.name, exchange, fault, incident)
        if self._on_message and fault.detail is not None:
            self._on_message("fault", fault.detail)
        return self._render(server, ctx, _status(exchange.inbound.soap, fault.code))

    def _scene(self, exchange: Exchange, incident: str) -> faults.Scene:
        """Say where and when a fault happened; the resource is named once its id is known to be one."""
        resource = exchange.call.resource if exchange.call else ""
        where = ""
        if self._addresses is not None:
            where = self._addresses.service(self.name) + (f"/{resource}" if resource else "")
        return faults.Scene(
            at=self._now(),
            incident=incident,
            originator=where,
            standard=bool(resource) and exchange.route is not None and exchange.route.standard,
        )

    def _success(self, server: ServerBase, ctx: Any, exchange: Exchange) -> Answer:
        route: Route | None = exchange.route
        if route is None or route.one_way:
            return Answer(202, "", b"")
        response = ctx.out_object[0]
        if not etree.iselement(response) or response.tag != route.response:
            raise TypeError(f"the operation did not return {route.response}")
        if self._on_message:
            self._on_message("response", response)
        return self._render(server, ctx, 200)

    def _render(self, server: ServerBase, ctx: Any, status: int) -> Answer:
        exchange: Exchange = ctx.udc
        addressing = exchange.addressing
        if addressing.silent_fault if exchange.fault is not None else addressing.silent:
            return Answer(202, "", b"")
        server.get_out_string(ctx)
        return Answer(status, CONTENT_TYPES[exchange.inbound.soap], b"".join(ctx.out_string))


def _let_go(ctx: Any) -> None:
    """Drop the trees and the error: Spyne's contexts are cycles, and the collector does not see how large a tree is."""
    exchange: Exchange = ctx.udc
    exchange.envelope = exchange.call = exchange.fault = None
    exchange.addressing = Addressing()
    ctx.in_document = ctx.in_body_doc = ctx.in_object = ctx.in_error = None
    ctx.out_document = ctx.out_object = ctx.out_error = ctx.out_string = None


def _status(soap: str, code: str) -> int:
    """Return the HTTP status of a fault: always 500 in SOAP 1.1, 400 for Sender in SOAP 1.2."""
    return 400 if soap == "1.2" and code == "Client" else 500

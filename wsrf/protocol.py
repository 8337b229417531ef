"""The protocol layer that Spyne is given in place of its own: a mixin over its Soap11 and Soap12.

Spyne publishes the services and calls the functions; this layer reads the message safely, finds the operation by the
QName of the Body's child, checks addressing and schema, and writes the answer. Stock Spyne knows only routes of the
application's own name space, resolves ``href`` cycles for ever, ignores mustUnderstand and cleans away name spaces
that are used in text only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.access.identity import UNKNOWN
from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.nodectl.errors import FlyingLowError, InvalidError, UnknownError
from flyinglow.wsrf import addressing
from flyinglow.wsrf.addresses import is_id
from flyinglow.wsrf.contract import Contract, ContractError
from flyinglow.wsrf.envelope import Envelope, EnvelopeReader, MessageLimits
from flyinglow.wsrf.faults import Raised, Rendered, SoapFault
from flyinglow.wsrf.operation import Exchange, Route, make_call
from flyinglow.wsrf.security.names import SECURITY
from flyinglow.wsrf.spyne_shim import Soap11, Soap12
from flyinglow.wsrf.xml import NIL, NS, TRUE, E

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.wsrf.security.signatures import Signatures

_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"


class Grid:
    """Mixin over Soap11 and Soap12. One object serves one endpoint in one version of SOAP, for several threads."""

    app: Any
    ns_soap_env: str

    def __init__(self, contract: Contract, limits: MessageLimits, *, resources: bool) -> None:
        super().__init__()
        self.contract = contract
        self.resources = resources
        self.reader = EnvelopeReader(self.ns_soap_env, limits)
        self.descriptors: dict[str, Any] = {}
        self.known_actions: frozenset[str] = frozenset()
        self.signatures: Signatures | None = None

    def learn_routes(self) -> None:
        """Build the routing table from what Spyne publishes; it refuses two operations for one message by itself."""
        methods = self.app.interface.method_id_map.values()
        self.descriptors = {method.udd["route"].element: method for method in methods}
        self.known_actions = frozenset(
            action
            for method in methods
            for action in (*method.udd["route"].actions, method.udd["route"].response_action)
        )

    # what Spyne calls on the way in

    def create_in_document(self, ctx: Any, charset: str | None = None) -> None:
        """Parse the message."""
        exchange: Exchange = ctx.udc
        exchange.envelope = self.reader.read(exchange.inbound.body, exchange.inbound.charset)
        ctx.in_document = exchange.envelope.root

    def decompose_incoming_envelope(self, ctx: Any, message: object = None) -> None:
        """Read the headers and name the operation."""
        exchange: Exchange = ctx.udc
        if exchange.envelope is None:
            raise TypeError("the message has not been parsed")
        understood = frozenset({SECURITY}) if self.signatures else frozenset()
        exchange.addressing = addressing.read(exchange.envelope.headers, self.ns_soap_env, understood)
        self._know_caller(exchange, exchange.envelope)
        if exchange.addressing.refused is not None:
            raise exchange.addressing.refused
        ctx.in_body_doc = exchange.envelope.body
        ctx.method_request_string = exchange.envelope.body.tag

    def _know_caller(self, exchange: Exchange, envelope: Envelope) -> None:
        inbound = exchange.inbound
        try:
            if self.signatures is not None:
                caller = self.signatures.caller(envelope.root, self.ns_soap_env, inbound, self.app.name)
                exchange.inbound = replace(inbound, caller=caller)
            elif inbound.caller.via == UNKNOWN.via:
                raise UnauthenticatedError("the request carries no credential that this service takes")
        except FlyingLowError as error:
            raise Raised(error) from None

    def get_call_handles(self, ctx: Any) -> list[Any]:
        """Find the operation, and check everything that can be checked before it runs."""
        exchange: Exchange = ctx.udc
        descriptor = self.descriptors.get(ctx.method_request_string)
        if descriptor is None:
            addressing.check_action(exchange.addressing, None, self.known_actions, self.known_actions)
            raise SoapFault("Client", "the Body's child is not a request of this endpoint")
        route: Route = descriptor.udd["route"]
        exchange.route = route
        inbound = exchange.inbound
        addressing.check_action(exchange.addressing, inbound.soap_action, frozenset(route.actions), self.known_actions)
        self._check_schema(ctx.in_body_doc)
        try:
            exchange.call = make_call(exchange, self._resource(exchange))
        except (InvalidError, UnknownError) as error:
            raise Raised(error) from None
        addressing.check_destination(exchange.addressing, self.app.name, exchange.call.resource)
        return [descriptor]

    def deserialize(self, ctx: Any, message: object) -> None:
        """Hand the operation the element itself."""
        ctx.in_object = ctx.in_body_doc

    def _check_schema(self, body: _Element) -> None:
        # SOAP::Lite marks the element of an operation without arguments as nil.
        if not len(body) and body.get(NIL, "").strip() in TRUE and not (body.text or "").strip():
            del body.attrib[NIL]
        try:
            self.contract.validate(body)
        except ContractError as error:
            raise SoapFault("Client", f"the request does not follow its schema: {error}") from None

    def _resource(self, exchange: Exchange) -> str:
        """Return the id of the resource that is meant, from the EPR's reference parameter or from the URL."""
        in_header, in_url = exchange.addressing.resource, exchange.inbound.resource
        if in_header and in_url and in_header != in_url:
            raise InvalidError("the URL and the header fl:ResourceID name different resources")
        found = in_header or in_url or ""
        if not self.resources:
            if found:
                raise UnknownError("this endpoint is one resource itself; it has no resource of that id")
            return ""
        if not found:
            raise UnknownError("no resource is named: neither the header fl:ResourceID is there nor an id in the URL")
        if not is_id(found):
            raise UnknownError("there is no such resource")
        return found

    # what Spyne calls on the way out

    def serialize(self, ctx: Any, message: object) -> None:
        """Write the envelope; nothing is cleaned up, so QNames in text keep their prefixes."""
        exchange: Exchange = ctx.udc
        fault, route, ns = exchange.fault, exchange.route, self.ns_soap_env
        envelope = etree.Element(f"{{{ns}}}Envelope", nsmap={"s": ns, "wsa": NS["wsa"]})
        if fault is not None:
            headers = addressing.answer_headers(exchange.addressing, fault.action, exchange.answer_id, fault=True)
            headers += self._fault_headers(fault)
        else:
            action = route.response_action if route else ""
            headers = addressing.answer_headers(exchange.addressing, action, exchange.answer_id)
        if headers:
            etree.SubElement(envelope, f"{{{ns}}}Header").extend(headers)
        body = etree.SubElement(envelope, f"{{{ns}}}Body")
        if fault is not None:
            body.append(self.fault_element(fault))
        else:
            body.append(ctx.out_object[0])
        ctx.out_document = envelope

    def create_out_string(self, ctx: Any, charset: str | None = None) -> None:
        """Turn the envelope into bytes."""
        ctx.out_string = [etree.tostring(ctx.out_document, encoding="utf-8", xml_declaration=True)]

    def fault_element(self, fault: Rendered) -> _Element:
        """Return the Fault element of this version of SOAP."""
        raise NotImplementedError

    def _fault_headers(self, fault: Rendered) -> list[_Element]:
        raise NotImplementedError


class Grid11(Grid, Soap11):
    """SOAP 1.1: the most special code known is the faultcode; details of an addressing fault are a header."""

    def fault_element(self, fault: Rendered) -> _Element:
        """Return soap11:Fault."""
        element = etree.Element(f"{{{self.ns_soap_env}}}Fault", nsmap={"s": self.ns_soap_env})
        special = fault.subsubcode or fault.subcode
        etree.SubElement(element, "faultcode").text = f"wsa:{special}" if special else f"s:{fault.code}"
        etree.SubElement(element, "faultstring").text = fault.message
        if fault.detail is not None:
            etree.SubElement(element, "detail").append(fault.detail)
        return element

    def _fault_headers(self, fault: Rendered) -> list[_Element]:
        return [] if fault.problem is None else [E["wsa"].FaultDetail(fault.problem)]


class Grid12(Grid, Soap12):
    """SOAP 1.2: codes are nested; headers that were not understood, and the version wanted, are named in headers."""

    def fault_element(self, fault: Rendered) -> _Element:
        """Return soap12:Fault."""
        ns = self.ns_soap_env
        element = etree.Element(f"{{{ns}}}Fault", nsmap={"s": ns})
        code = etree.SubElement(element, f"{{{ns}}}Code")
        word = {"Client": "Sender", "Server": "Receiver"}.get(fault.code, fault.code)
        etree.SubElement(code, f"{{{ns}}}Value").text = f"s:{word}"
        for special in (fault.subcode, fault.subsubcode):
            if special:
                code = etree.SubElement(code, f"{{{ns}}}Subcode")
                etree.SubElement(code, f"{{{ns}}}Value").text = f"wsa:{special}"
        reason = etree.SubElement(element, f"{{{ns}}}Reason")
        etree.SubElement(reason, f"{{{ns}}}Text", {_LANG: "en"}).text = fault.message
        detail = fault.detail if fault.detail is not None else fault.problem
        if detail is not None:
            etree.SubElement(element, f"{{{ns}}}Detail").append(detail)
        return element

    def _fault_headers(self, fault: Rendered) -> list[_Element]:
        if fault.code != "VersionMismatch":
            return addressing.not_understood(fault.not_understood)
        ns = self.ns_soap_env
        upgrade = etree.Element(f"{{{ns}}}Upgrade", nsmap={"s": ns})
        # The envelope's own prefix for 1.2: a second one for the same name space would not survive the move into it.
        for prefix, uri in (("s", ns), ("s11", NS["s11"])):
            etree.SubElement(
                upgrade, f"{{{ns}}}SupportedEnvelope", {"qname": f"{prefix}:Envelope"}, nsmap={prefix: uri}
            )
        return [upgrade]


GRIDS: Final[dict[str, type[Grid]]] = {"1.1": Grid11, "1.2": Grid12}

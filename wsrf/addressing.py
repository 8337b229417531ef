"""WS-Addressing 1.0 and SOAP's own header rules: what a message's headers say, and what the answer's must say.

No client is made to send addressing headers, because many stacks send none; but what is sent must hold. A header this
service does not know is ignored, unless it is marked mustUnderstand for us. Answers always go back on the connection
they came on: a reply address elsewhere would make this service a sender of messages to whoever is named there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.wsrf.addresses import ADDRESS, RESOURCE_ID
from flyinglow.wsrf.faults import SoapFault
from flyinglow.wsrf.xml import NS, TRUE, E, qname, qname_text, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxml.etree import _Element

ANONYMOUS: Final = NS["wsa"] + "/anonymous"
NONE: Final = NS["wsa"] + "/none"

_WSA: Final = f"{{{NS['wsa']}}}"
_ONCE: Final = frozenset(_WSA + name for name in ("To", "Action", "MessageID", "ReplyTo", "FaultTo", "From"))
_KNOWN: Final = _ONCE | {_WSA + "RelatesTo", RESOURCE_ID}
_FALSE: Final = frozenset({"", "0", "false"})
_HERE: Final = {
    NS["s11"]: frozenset({"", "http://schemas.xmlsoap.org/soap/actor/next"}),
    NS["s12"]: frozenset({"", NS["s12"] + "/role/next", NS["s12"] + "/role/ultimateReceiver"}),
}
_ROLE: Final = {NS["s11"]: f"{{{NS['s11']}}}actor", NS["s12"]: f"{{{NS['s12']}}}role"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """What the headers said. ``used``: the answer must carry addressing too; ``silent``: nobody wants an answer."""

    used: bool = False
    action: str | None = None
    message_id: str | None = None
    silent: bool = False
    resource: str | None = None
    others: tuple[_Element, ...] = ()


def read(headers: Sequence[_Element], soap_ns: str) -> Addressing:
    """Read all headers of a message. Raises SoapFault for one that is twice there, is not understood, or leads away."""
    found: dict[str, _Element] = {}
    others, strange, repeated = [], [], ""
    for header in headers:
        tag = str(header.tag)
        if header.get(_ROLE[soap_ns], "").strip() not in _HERE[soap_ns]:
            continue
        if tag in found and tag in _ONCE | {RESOURCE_ID}:
            repeated = repeated or tag
        found.setdefault(tag, header)
        if tag not in _KNOWN:
            others.append(header)
            if _must_understand(header, soap_ns):
                strange.append(tag)
    if strange:
        raise SoapFault("MustUnderstand", "a header that must be understood is not", not_understood=tuple(strange))
    if repeated:
        raise _invalid(f"the header {repeated} may be there only once", "InvalidCardinality", repeated)
    action, message_id = found.get(_WSA + "Action"), found.get(_WSA + "MessageID")
    resource = found.get(RESOURCE_ID)
    return Addressing(
        used=any(tag in _ONCE for tag in found),
        action=None if action is None else (action.text or "").strip(),
        message_id=None if message_id is None else (message_id.text or "").strip() or None,
        silent=_reply_address(found) == NONE,
        resource=None if resource is None else (resource.text or "").strip(),
        others=tuple(others),
    )


def check_action(addressing: Addressing, soap_action: str | None, route: frozenset[str], known: frozenset[str]) -> None:
    """Raise SoapFault unless wsa:Action, where given, fits the route and SOAPAction, where given, equals it."""
    action = addressing.action
    if action is None:
        return
    if soap_action and soap_action != action:
        raise _wrong_action("wsa:Action and SOAPAction differ", action, "ActionMismatch")
    if action in route:
        return
    if action in known:
        raise _wrong_action("wsa:Action belongs to another message than the one in the Body", action, "ActionMismatch")
    raise SoapFault(
        "Client",
        "the action is not one of this endpoint",
        subcode="ActionNotSupported",
        problem=E["wsa"].ProblemAction(E["wsa"].Action(action)),
    )


def answer_headers(addressing: Addressing, action: str, message_id: str) -> list[_Element]:
    """Return the addressing headers of an answer: none when the request had none."""
    if not addressing.used:
        return []
    wsa = E["wsa"]
    headers = [wsa.Action(action), wsa.To(ANONYMOUS), wsa.MessageID(message_id)]
    if addressing.message_id:
        headers.append(wsa.RelatesTo(addressing.message_id))
    return headers


def not_understood(tags: Sequence[str]) -> list[_Element]:
    """Return SOAP 1.2's NotUnderstood headers for these header names."""
    headers = []
    for tag in tags:
        text, nsmap = qname_text(tag)
        headers.append(etree.Element(qname("s12", "NotUnderstood"), {"qname": text}, nsmap={"s12": NS["s12"], **nsmap}))
    return headers


def _must_understand(header: _Element, soap_ns: str) -> bool:
    value = header.get(f"{{{soap_ns}}}mustUnderstand", "").strip()
    if value in TRUE:
        return True
    if value not in _FALSE:
        raise SoapFault("Client", "mustUnderstand must be a boolean")
    return False


def _reply_address(found: dict[str, _Element]) -> str:
    for name in ("FaultTo", "ReplyTo"):
        header = found.get(_WSA + name)
        address = ANONYMOUS if header is None else text_of(header, ADDRESS)
        if address not in {ANONYMOUS, NONE}:
            message = f"answers go back on the same connection: {name} must be anonymous or none"
            raise _invalid(message, "OnlyAnonymousAddressSupported", _WSA + name)
    return ANONYMOUS if header is None else address


def _invalid(message: str, subsubcode: str, header: str) -> SoapFault:
    text, nsmap = qname_text(header)
    problem = etree.Element(qname("wsa", "ProblemHeaderQName"), nsmap={"wsa": NS["wsa"], **nsmap})
    problem.text = text
    return SoapFault("Client", message, subcode="InvalidAddressingHeader", subsubcode=subsubcode, problem=problem)


def _wrong_action(message: str, action: str, subsubcode: str) -> SoapFault:
    return SoapFault(
        "Client",
        message,
        subcode="InvalidAddressingHeader",
        subsubcode=subsubcode,
        problem=E["wsa"].ProblemAction(E["wsa"].Action(action)),
    )

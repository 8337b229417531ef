"""WS-Addressing 1.0 and SOAP's own header rules: what a message's headers say, and what the answer's must say.

No client is made to send addressing headers, because many stacks send none; but what is sent must hold. A header this
service does not know is ignored, unless it is marked mustUnderstand for us. Answers always go back on the connection
they came on: a reply address elsewhere would make this service a sender of messages to whoever is named there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lxml import etree

from flyinglow.wsrf import addressing_faults as faults
from flyinglow.wsrf.addresses import ADDRESS, REFERENCE_PARAMETERS, RESOURCE_ID
from flyinglow.wsrf.faults import SoapFault
from flyinglow.wsrf.xml import NS, TRUE, E, qname, qname_text, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lxml.etree import _Element

ANONYMOUS: Final = NS["wsa"] + "/anonymous"
NONE: Final = NS["wsa"] + "/none"

_WSA: Final = f"{{{NS['wsa']}}}"
_ONCE: Final = frozenset(_WSA + name for name in ("To", "Action", "MessageID", "ReplyTo", "FaultTo", "From"))
_REFERENCES: Final = ("From", "ReplyTo", "FaultTo")
_KNOWN: Final = _ONCE | {_WSA + "RelatesTo", RESOURCE_ID}
_IS_PARAMETER: Final = _WSA + "IsReferenceParameter"
_FALSE: Final = frozenset({"", "0", "false"})
_HERE: Final = {
    NS["s11"]: frozenset({"", "http://schemas.xmlsoap.org/soap/actor/next"}),
    NS["s12"]: frozenset({"", NS["s12"] + "/role/next", NS["s12"] + "/role/ultimateReceiver"}),
}
_ROLE: Final = {NS["s11"]: f"{{{NS['s11']}}}actor", NS["s12"]: f"{{{NS['s12']}}}role"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """What the headers said.

    ``used``: the answer must carry addressing too; ``silent`` and ``silent_fault``: nobody wants an answer, or a
    fault. ``reply_parameters`` and ``fault_parameters`` are the reference parameters of where these go. ``refused`` is
    the fault that the headers themselves deserve; it is kept, so that its message can be addressed as well.
    """

    used: bool = False
    to: str | None = None
    action: str | None = None
    message_id: str | None = None
    silent: bool = False
    silent_fault: bool = False
    reply_parameters: tuple[_Element, ...] = ()
    fault_parameters: tuple[_Element, ...] = ()
    resource: str | None = None
    others: tuple[_Element, ...] = ()
    refused: SoapFault | None = None


def read(headers: Sequence[_Element], soap_ns: str, understood: frozenset[str] = frozenset()) -> Addressing:
    """Read all headers of a message that are meant for us; ``understood`` are those that others here act on."""
    mine = [header for header in headers if header.get(_ROLE[soap_ns], "").strip() in _HERE[soap_ns]]
    found: dict[str, _Element] = {}
    for header in mine:
        found.setdefault(str(header.tag), header)
    reply = found.get(_WSA + "ReplyTo")
    fault = found.get(_WSA + "FaultTo", reply)
    resource = found.get(RESOURCE_ID)
    return Addressing(
        used=any(tag in _ONCE for tag in found),
        to=_text(found, "To"),
        action=_text(found, "Action"),
        message_id=_text(found, "MessageID") or None,
        silent=_address(reply) == NONE,
        silent_fault=_address(fault) == NONE,
        reply_parameters=_parameters(reply),
        fault_parameters=_parameters(fault),
        resource=None if resource is None else (resource.text or "").strip(),
        others=tuple(header for header in mine if header.tag not in _KNOWN),
        refused=_refused(mine, found, soap_ns, understood),
    )


def check_action(addressing: Addressing, soap_action: str | None, route: frozenset[str], known: frozenset[str]) -> None:
    """Raise SoapFault unless wsa:Action, where given, fits the route and SOAPAction, where given, equals it."""
    action = addressing.action
    if action is None:
        return
    if soap_action and soap_action != action:
        raise faults.mismatch("wsa:Action and SOAPAction differ", action, soap_action)
    if action in route:
        return
    if action in known:
        raise faults.mismatch("wsa:Action belongs to another message than the one in the Body", action)
    raise faults.not_supported(action)


def check_destination(addressing: Addressing, service: str, resource: str) -> None:
    """Raise SoapFault when wsa:To, where it is a URL, names another endpoint, or another resource of this one.

    Of the URL only the last steps count: hosts have many names, and what stands before them is a proxy's business.
    """
    if addressing.to is None or not addressing.to.startswith(("http://", "https://")) or addressing.to == ANONYMOUS:
        return
    try:
        steps = urlsplit(addressing.to).path.rstrip("/").split("/")
    except ValueError:
        raise faults.unreachable(addressing.to) from None
    if steps[-1:] != [service] and (steps[-2:-1] != [service] or steps[-1] != resource):
        raise faults.unreachable(addressing.to)


def answer_headers(addressing: Addressing, action: str, message_id: str, *, fault: bool = False) -> list[_Element]:
    """Return the addressing headers of an answer: none when the request had none."""
    if not addressing.used:
        return []
    wsa = E["wsa"]
    headers = [wsa.Action(action), wsa.To(ANONYMOUS), wsa.MessageID(message_id)]
    if addressing.message_id:
        headers.append(wsa.RelatesTo(addressing.message_id))
    for parameter in addressing.fault_parameters if fault else addressing.reply_parameters:
        echoed = etree.fromstring(etree.tostring(parameter, with_tail=False))
        echoed.set(_IS_PARAMETER, "true")
        headers.append(echoed)
    return headers


def not_understood(tags: Sequence[str]) -> list[_Element]:
    """Return SOAP 1.2's NotUnderstood headers for these header names."""
    headers = []
    for tag in tags:
        text, nsmap = qname_text(tag)
        headers.append(etree.Element(qname("s12", "NotUnderstood"), {"qname": text}, nsmap={"s12": NS["s12"], **nsmap}))
    return headers


def _refused(
    mine: Sequence[_Element], found: Mapping[str, _Element], soap_ns: str, understood: frozenset[str]
) -> SoapFault | None:
    """Return the fault for the first thing that is wrong with the headers, SOAP's own rules first."""
    marks = [(str(header.tag), header.get(f"{{{soap_ns}}}mustUnderstand", "").strip()) for header in mine]
    if any(mark not in TRUE | _FALSE for _, mark in marks):
        return SoapFault("Client", "mustUnderstand must be a boolean")
    if strange := tuple(tag for tag, mark in marks if mark in TRUE and tag not in _KNOWN | understood):
        return SoapFault("MustUnderstand", "a header that must be understood is not", not_understood=strange)
    tags = [tag for tag, _ in marks]
    if repeated := [tag for tag in tags if tag in _ONCE | {RESOURCE_ID} and tags.count(tag) > 1]:
        return faults.repeated(repeated[0])
    for name in _REFERENCES:
        if (fault := _bad_reference(found.get(_WSA + name), name)) is not None:
            return fault
    if any(tag in _ONCE for tag in found) and not _text(found, "Action"):
        return faults.required(_WSA + "Action")
    return None


def _bad_reference(header: _Element | None, name: str) -> SoapFault | None:
    if header is None:
        return None
    if header.find(ADDRESS) is None:
        return faults.without_address(_WSA + name)
    if name != "From" and _address(header) not in {ANONYMOUS, NONE}:
        return faults.elsewhere(_WSA + name)
    if any(
        (etree.QName(each).namespace or "") in {"", NS["wsa"], NS["s11"], NS["s12"]} for each in _parameters(header)
    ):
        return faults.bad_reference(_WSA + name)
    return None


def _address(reference: _Element | None) -> str:
    return ANONYMOUS if reference is None else text_of(reference, ADDRESS)


def _parameters(reference: _Element | None) -> tuple[_Element, ...]:
    holder = None if reference is None else reference.find(REFERENCE_PARAMETERS)
    return () if holder is None else tuple(holder)


def _text(found: Mapping[str, _Element], name: str) -> str | None:
    header = found.get(_WSA + name)
    return None if header is None else (header.text or "").strip()

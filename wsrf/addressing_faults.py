"""The faults of WS-Addressing 1.0 (SOAP Binding, section 6.4), one function each, with the detail that each has."""

from __future__ import annotations

from lxml import etree

from flyinglow.wsrf.faults import SoapFault
from flyinglow.wsrf.xml import NS, E, clean_text, qname, qname_text


def repeated(header: str) -> SoapFault:
    """Say that a header (a Clark name) is there more than once."""
    return _invalid(f"the header {header} may be there only once", "InvalidCardinality", header)


def required(header: str) -> SoapFault:
    """Say that a header is missing that a message with addressing must have."""
    message = f"the message has addressing headers, but not {header}"
    return SoapFault("Client", message, subcode="MessageAddressingHeaderRequired", problem=_header(header))


def without_address(header: str) -> SoapFault:
    """Say that an endpoint reference in a header has no address."""
    return _invalid(f"the endpoint reference {header} has no Address", "MissingAddressInEPR", header)


def bad_reference(header: str) -> SoapFault:
    """Say that an endpoint reference has parameters that cannot be headers of an answer."""
    message = f"the reference parameters of {header} would pose as headers of SOAP or WS-Addressing"
    return _invalid(message, "InvalidEPR", header)


def elsewhere(header: str) -> SoapFault:
    """Say that answers are sent nowhere else."""
    message = f"answers go back on the same connection: {header} must be anonymous or none"
    return _invalid(message, "OnlyAnonymousAddressSupported", header)


def mismatch(message: str, action: str, soap_action: str = "") -> SoapFault:
    """Say that the action contradicts the message, or SOAPAction the action."""
    problem = E["wsa"].ProblemAction(E["wsa"].Action(clean_text(action)))
    if soap_action:
        problem.append(E["wsa"].SoapAction(clean_text(soap_action)))
    return SoapFault("Client", message, subcode="InvalidAddressingHeader", subsubcode="ActionMismatch", problem=problem)


def not_supported(action: str) -> SoapFault:
    """Say that the action is none of this endpoint."""
    problem = E["wsa"].ProblemAction(E["wsa"].Action(action))
    return SoapFault("Client", "the action is not one of this endpoint", subcode="ActionNotSupported", problem=problem)


def unreachable(address: str) -> SoapFault:
    """Say that the message is for somebody else."""
    problem = E["wsa"].ProblemIRI(clean_text(address))
    message = "wsa:To names another endpoint, or another resource, than the one that the message was sent to"
    return SoapFault("Client", message, subcode="DestinationUnreachable", problem=problem)


def _invalid(message: str, subsubcode: str, header: str) -> SoapFault:
    return SoapFault(
        "Client", message, subcode="InvalidAddressingHeader", subsubcode=subsubcode, problem=_header(header)
    )


def _header(name: str) -> etree._Element:
    text, nsmap = qname_text(name)
    problem = etree.Element(qname("wsa", "ProblemHeaderQName"), nsmap={"wsa": NS["wsa"], **nsmap})
    problem.text = text
    return problem

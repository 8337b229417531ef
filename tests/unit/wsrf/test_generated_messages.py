"""Whatever is sent to the endpoints is answered: by a fault at worst, and never by a failure of the service's own."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from lxml import etree
from lxml.etree import _Element

from flyinglow.wsrf.xml import NS
from rigs.contract_site import Site
from rigs.messages import SERVICES, SOAPS, Message, any_bytes, messages, references

MANY = settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
SITE = Site()
ADDRESSING = {"InvalidCardinality", "InvalidAddress", "InvalidEPR", "MessageAddressingHeaderRequired"}
ADDRESSING |= {"OnlyAnonymousAddressSupported", "ActionMismatch", "ActionNotSupported", "InvalidAddressingHeader"}
ADDRESSING |= {"MissingAddressInEPR"}
CALLERS = {"Client", "Sender", "MustUnderstand", "VersionMismatch", *ADDRESSING}
OTHERS = ("pullpoints", "pullpoint", "broker")  # these have a store behind them: tests/integration/server


def fault_codes(data: bytes, soap: str) -> list[str]:
    """Return the code of the fault in an answer, if it is one."""
    uri = SOAPS[soap]
    fault = etree.fromstring(data).find(f"{{{uri}}}Body/{{{uri}}}Fault")
    if fault is None:
        return []
    code = fault.findtext("faultcode") or fault.findtext(f"{{{uri}}}Code/{{{uri}}}Value") or ""
    return [code.rpartition(":")[2]]


def answered(message: Message, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Send it and return the code of the fault, if it was answered by one; no failure is meant to be there."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "flyinglow.wsrf"):
        answer = SITE.ask(message.service, message.body, message.resource)
    assert answer.status in (200, 202, 400, 500)
    assert [record for record in caplog.records if getattr(record, "kind", "") == "bug"] == []
    soap = "1.2" if SOAPS["1.2"].encode() in message.body else "1.1"
    return fault_codes(answer.body, soap) if answer.body else []


@MANY
@given(message=messages().filter(lambda message: message.service in SERVICES and message.service not in OTHERS))
def test_a_message_that_is_wrong_somewhere_is_answered(caplog: pytest.LogCaptureFixture, message: Message) -> None:
    assert set(answered(message, caplog)) <= CALLERS


@MANY
@given(data=any_bytes())
def test_bytes_that_are_no_message_are_the_callers_fault(caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    assert answered(Message("workspace", "1.1", data), caplog)[0] in ("Client", "VersionMismatch")


@MANY
@given(reference=references())
@pytest.mark.parametrize("service", ["workspace", "group", "ensemble"])
def test_any_reference_may_be_named_as_a_consumer(
    caplog: pytest.LogCaptureFixture, service: str, reference: _Element
) -> None:
    reference.tag = f"{{{NS['wsnt']}}}ConsumerReference"
    consumer = etree.tostring(reference).decode()
    body = f'<wsnt:Subscribe xmlns:wsnt="{NS["wsnt"]}">{consumer}</wsnt:Subscribe>'
    envelope = f'<s:Envelope xmlns:s="{SOAPS["1.1"]}"><s:Body>{body}</s:Body></s:Envelope>'
    assert set(answered(Message(service, "1.1", envelope.encode()), caplog)) <= CALLERS


@MANY
@given(reference=references())
def test_any_reference_may_come_back_as_headers(caplog: pytest.LogCaptureFixture, reference: _Element) -> None:
    headers = "".join(etree.tostring(header, with_tail=False).decode() for header in reference)
    parameters = reference.find(f"{{{NS['wsa']}}}ReferenceParameters")
    headers += "".join(etree.tostring(header).decode() for header in ([] if parameters is None else parameters))
    body = f'<rp:GetResourcePropertyDocument xmlns:rp="{NS["rp"]}"/>'
    envelope = (
        f'<s:Envelope xmlns:s="{SOAPS["1.1"]}"><s:Header>{headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    )
    assert set(answered(Message("workspace", "1.1", envelope.encode()), caplog)) <= CALLERS

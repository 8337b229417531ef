"""The sample messages of the documentation: complete, valid, and what the services really say."""

import re
from pathlib import Path

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.wsrf.contract import Contract, ContractError
from rigs.contract import PULL_POINT, SAMPLES, SERVICES, SOAP, SUBSCRIPTION
from rigs.contract_site import Site
from rigs.refusals import REFUSALS

ALL = sorted(SAMPLES.glob("*.xml"))
ANSWERED = [path for path in ALL if path.stem.endswith("-request") and "-Notify-" not in path.stem]
RESOURCES = {"subscription": SUBSCRIPTION, "pullpoint": PULL_POINT}
"""What is addressed by its URL alone."""
REFERENCE = SAMPLES.parent / "reference" / "soap.md"
ACTION = "{http://www.w3.org/2005/08/addressing}Action"
REFUSED = {"entry-Destroy-request", "broker-RegisterPublisher-request"}
"""Operations whose sample answer is a fault, which is another element in SOAP 1.2."""
TO = "{http://www.w3.org/2005/08/addressing}To"


def read(path: Path) -> _Element:
    return etree.parse(path, etree.XMLParser(remove_blank_text=True)).getroot()


def content(envelope: _Element) -> _Element:
    """Return what is in the body; of a fault, its detail element."""
    body = envelope.find(f"{{{SOAP['1.1']}}}Body")
    assert body is not None
    (only,) = body
    detail = only.find("detail")
    return only if detail is None else detail[0]


def canonical(element: _Element) -> str:
    """Return the element in a form in which prefixes' places do not count."""
    clean = etree.fromstring(etree.tostring(element), etree.XMLParser(remove_blank_text=True))
    etree.indent(clean)
    return etree.tostring(clean, method="c14n", exclusive=True).decode()


def test_every_operation_has_its_samples(contract: Contract) -> None:
    expected = set()
    for name in SERVICES:
        for element, action in contract.operations(name):
            operation = element.rpartition("}")[2]
            expected.add(f"{name}-{operation}-request")
            if action.endswith("Request"):
                expected.add(f"{name}-{operation}-response")
    assert {path.stem for path in ALL if not path.stem.startswith("fault-")} == expected


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_samples_fit_the_schemas_and_the_standards_own(
    path: Path, contract: Contract, original_contract: Contract
) -> None:
    element = content(read(path))
    contract.validate(element)
    original_contract.validate(element)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_what_a_message_carries_fits_too(path: Path, contract: Contract, original_contract: Contract) -> None:
    """What stands in an xs:any is checked only where it is declared, so each such element is checked on its own."""
    element = content(read(path))
    carried = [*element.iter("{*}Message"), *(element.iter("{*}GetResourcePropertyDocumentResponse"))]
    for holder in carried:
        for child in holder:
            contract.validate(child)
            original_contract.validate(child)


@pytest.mark.parametrize("path", ANSWERED, ids=lambda path: path.stem)
def test_the_services_answer_as_the_sample_says(path: Path) -> None:
    service, name = path.stem.split("-")[:2]
    if service == "fault":
        service = str(read(path).findtext(f"*/{TO}")).split("/")[3]
    refusal = REFUSALS.get(name) if path.stem.startswith("fault-") else None
    answer = Site(refusal).ask(service, path.read_bytes(), RESOURCES.get(service))
    expected = read(path.with_name(path.name.replace("-request", "-response")))
    assert canonical(etree.fromstring(answer.body)) == canonical(expected)


@pytest.mark.parametrize("path", ANSWERED, ids=lambda path: path.stem)
def test_soap_1_2_gets_the_same_answer(path: Path) -> None:
    if path.stem.startswith("fault-") or path.stem in REFUSED:
        return
    service = path.stem.partition("-")[0]
    resource = RESOURCES.get(service)
    old = Site().ask(service, path.read_bytes(), resource)
    new = Site().ask(service, path.read_bytes().replace(SOAP["1.1"].encode(), SOAP["1.2"].encode()), resource)
    assert (new.status, new.content_type) == (200, "application/soap+xml; charset=utf-8")
    assert new.body.replace(SOAP["1.2"].encode(), SOAP["1.1"].encode()) == old.body


@pytest.mark.parametrize("path", [p for p in ALL if p.stem.endswith("-request")], ids=lambda path: path.stem)
def test_requests_bear_the_action_of_their_operation(path: Path, contract: Contract) -> None:
    service = path.stem.partition("-")[0]
    names = SERVICES if service == "fault" else (service,)
    root = read(path)
    actions = {
        action for name in names for element, action in contract.operations(name) if element == content(root).tag
    }
    assert root.findtext(f"*/{ACTION}") in actions


def test_the_reference_shows_every_sample_and_nothing_else() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    linked = set(re.findall(r"\(\.\./samples/([\w.-]+\.xml)\)", text))
    assert linked == {path.name for path in ALL}


def test_the_check_against_the_originals_can_fail(original_contract: Contract) -> None:
    element = content(read(SAMPLES / "consumer-Notify-request.xml"))
    for holder in element.iter("{http://docs.oasis-open.org/wsn/b-2}Message"):
        holder.clear()
    with pytest.raises(ContractError):
        original_contract.validate(element)

"""The Factory on the wire."""

import pytest
from lxml import etree

from flyinglow.workspace.model import Kind
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname, text_of
from rigs.contract import ADDRESSES, CE, ENSEMBLE, MEMBERS, SAMPLES
from rigs.contract_site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def create(site: Site) -> etree._Element:
    sample = etree.parse(SAMPLES / "factory-Create-request.xml")
    return site.body("factory", next(sample.iter(qname("flf", "Create"))))


def test_create_answers_with_every_reference_the_whole_first(site: Site) -> None:
    answer = create(site)
    Contract.packaged().validate(answer)
    resources = answer.findall(qname("flf", "Resource"))
    assert [text_of(found, qname("flf", "Name")) for found in resources] == ["atlas", "ce", "se", "wn", "wn-1", "wn-2"]
    references = [found.find(qname("wsa", "EndpointReference")) for found in resources]
    keys = [ADDRESSES.read(found) for found in references if found is not None]
    assert keys[0] == ("ensemble", ENSEMBLE.id)
    assert keys[1] == ("workspace", CE.id)
    assert keys[-1] == ("workspace", MEMBERS[-1].id)


def test_create_hands_on_what_was_asked(site: Site) -> None:
    create(site)
    (request,) = site.factory.asked
    assert [(part.name, part.count, len(part.nics)) for part in request.parts] == [
        ("ce", 1, 2),
        ("se", 1, 2),
        ("wn", 2, 1),
    ]
    assert (request.duration, request.token) == (7200, "f2c1a7")


def test_list_without_wishes_asks_for_a_page_of_everything(site: Site) -> None:
    answer = site.body("factory", f'<List xmlns="{NS["flf"]}"/>')
    Contract.packaged().validate(answer)
    assert site.factory.asked == [{"after": None, "limit": 100, "kind": None, "state": None, "everybody": False}]
    entries = answer.findall(qname("flf", "Entry"))
    assert [text_of(row, qname("flf", "State")) for row in entries] == ["Running", "Paused"]
    assert [text_of(row, qname("flf", "Task")) for row in entries] == ["", "Resuming"]
    assert text_of(answer, qname("flf", "Next")) == CE.id


def test_list_hands_on_every_wish(site: Site) -> None:
    site.body(
        "factory",
        f'<List xmlns="{NS["flf"]}"><After>abc</After><Limit>7</Limit><Kind>group</Kind><State>Running</State>'
        "<Everybody>1</Everybody></List>",
    )
    wanted = {"after": "abc", "limit": 7, "kind": Kind.GROUP, "state": "Running", "everybody": True}
    assert site.factory.asked == [wanted]


def test_a_list_of_everybodys_names_the_owners(site: Site) -> None:
    answer = site.body("factory", f'<List xmlns="{NS["flf"]}"><Everybody>true</Everybody></List>')
    Contract.packaged().validate(answer)
    owners = [text_of(row, qname("flf", "Owner")) for row in answer.findall(qname("flf", "Entry"))]
    assert owners == ["local", "CN=Bob,O=Grid"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many"])
def test_a_page_size_out_of_bounds_never_reaches_the_service(site: Site, limit: str) -> None:
    site.body("factory", f'<List xmlns="{NS["flf"]}"><Limit>{limit}</Limit></List>')
    assert site.factory.asked == []


def test_what_is_short_is_told_in_figures(site: Site) -> None:
    sample = etree.parse(SAMPLES / "fault-ExhaustedFault-request.xml")
    fault = site.body("factory", next(sample.iter(qname("flf", "Create"))))
    Contract.packaged().validate(fault)
    figures = {found.get("name"): found.text for found in fault.iter(qname("fl", "Figure"))}
    assert figures["would_fit"] == "2"
    assert text_of(fault, qname("fl", "Retryable")) == "true"


def test_the_factory_is_one_resource_and_refuses_an_id(site: Site) -> None:
    body = f'<GetResourceProperty xmlns="{NS["rp"]}" xmlns:fl="{NS["fl"]}">fl:Offers</GetResourceProperty>'
    assert site.body("factory", body).tag == qname("rp", "GetResourcePropertyResponse")
    assert site.body("factory", body, resource="abc").tag != qname("rp", "GetResourcePropertyResponse")

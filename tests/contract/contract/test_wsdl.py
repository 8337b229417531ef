"""The WSDLs hold together: with the schemas, in themselves, with what is published, and with other SOAP stacks."""

from collections import Counter
from pathlib import Path

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.wsrf.contract import Contract
from rigs.contract import SERVICES
from rigs.contract_site import Site

ROOT = Path(__file__).parents[3]
NS = {
    "w": "http://schemas.xmlsoap.org/wsdl/",
    "soap": "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12": "http://schemas.xmlsoap.org/wsdl/soap12/",
    "xs": "http://www.w3.org/2001/XMLSchema",
}
ACTION = "{http://www.w3.org/2007/05/addressing/metadata}Action"
POLICY = "{http://www.w3.org/ns/ws-policy}"
ID = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}Id"
BASE_FAULT = "{http://docs.oasis-open.org/wsrf/bf-2}BaseFaultType"


def load(name: str) -> _Element:
    return etree.parse(ROOT / "wsdl" / f"{name}.wsdl").getroot()


def clark(element: _Element, text: str) -> str:
    prefix, _, local = text.rpartition(":")
    return f"{{{element.nsmap[prefix or None]}}}{local}"


@pytest.fixture(scope="module")
def declared(contract: Contract) -> dict[str, _Element]:
    """Every global element and type of the schemas by its name; types are marked with ``type ``."""
    found = {}
    for data in contract.schemas.values():
        schema = etree.fromstring(data)
        for child in schema.iterchildren("{*}element", "{*}complexType"):
            kind = "type " if etree.QName(child).localname == "complexType" else ""
            found[f"{kind}{{{schema.get('targetNamespace')}}}{child.get('name')}"] = child
    return found


@pytest.fixture(params=SERVICES)
def wsdl(request: pytest.FixtureRequest) -> _Element:
    return load(request.param)


def test_there_is_one_file_for_each_service(contract: Contract) -> None:
    assert contract.names() == SERVICES


def test_every_message_is_one_declared_element(wsdl: _Element, declared: dict[str, _Element]) -> None:
    messages = wsdl.findall("w:message", NS)
    assert messages
    for message in messages:
        (part,) = message.findall("w:part", NS)
        assert part.get("name") == "body"
        assert clark(part, part.get("element", "")) in declared


def test_every_message_is_used_and_every_use_has_a_message(wsdl: _Element) -> None:
    names = {message.get("name") for message in wsdl.findall("w:message", NS)}
    used = {
        use.get("message", "").removeprefix("tns:") for use in wsdl.iterfind("w:portType/w:operation/*[@message]", NS)
    }
    assert used == names


def test_actions_are_unique_and_made_by_one_rule(wsdl: _Element) -> None:
    actions = Counter[str]()
    for operation in wsdl.iterfind("w:portType/w:operation", NS):
        given, answer = operation.find("w:input", NS), operation.find("w:output", NS)
        assert given is not None
        actions[given.get(ACTION, "")] += 1
        if answer is None:
            assert given.get(ACTION, "").endswith(f"/{operation.get('name')}")
        else:
            actions[answer.get(ACTION, "")] += 1
            assert given.get(ACTION, "").endswith(f"/{operation.get('name')}Request")
            assert answer.get(ACTION, "") == given.get(ACTION, "").removesuffix("Request") + "Response"
    assert set(actions.values()) == {1}


def test_every_fault_derives_from_the_base_fault(wsdl: _Element, declared: dict[str, _Element]) -> None:
    parts = {message.get("name"): message[0] for message in wsdl.findall("w:message", NS)}
    for fault in wsdl.iterfind("w:portType/w:operation/w:fault", NS):
        part = parts[fault.get("message", "").removeprefix("tns:")]
        element = declared[clark(part, part.get("element", ""))]
        kind = declared["type " + clark(element, element.get("type", ""))]
        extension = kind.find("xs:complexContent/xs:extension", NS)
        assert extension is not None
        assert clark(extension, extension.get("base", "")) == BASE_FAULT
        family = "wsn" if "/wsn/" in clark(part, part.get("element", "")) else "wsrf"
        assert fault.get(ACTION) == f"http://docs.oasis-open.org/{family}/fault"


@pytest.mark.parametrize("soap", ["soap", "soap12"])
def test_both_bindings_offer_every_operation(wsdl: _Element, soap: str) -> None:
    (binding,) = (b for b in wsdl.findall("w:binding", NS) if b.find(f"{soap}:binding", NS) is not None)
    style = binding.find(f"{soap}:binding", NS)
    assert style is not None
    assert (style.get("style"), style.get("transport")) == ("document", "http://schemas.xmlsoap.org/soap/http")
    bound = {operation.get("name"): operation for operation in binding.findall("w:operation", NS)}
    abstract = wsdl.findall("w:portType/w:operation", NS)
    assert list(bound) == [operation.get("name") for operation in abstract]
    for operation in abstract:
        given, one = operation.find("w:input", NS), bound[operation.get("name")]
        action = one.find(f"{soap}:operation", NS)
        assert given is not None
        assert action is not None
        assert action.get("soapAction") == given.get(ACTION)
        assert [f.get("name") for f in one.findall("w:fault", NS)] == [
            f.get("name") for f in operation.findall("w:fault", NS)
        ]
        assert {body.get("use") for body in one.iterfind(f"*/{soap}:body", NS)} == {"literal"}


def test_the_port_of_soap_1_1_comes_first(wsdl: _Element) -> None:
    first, second = wsdl.findall("w:service/w:port", NS)
    assert first.find("soap:address", NS) is not None
    assert second.find("soap12:address", NS) is not None
    assert first.get("binding", "").endswith("Soap11")
    assert second.get("binding", "").endswith("Soap12")


def test_every_binding_says_how_addressing_is_meant(wsdl: _Element) -> None:
    policy = wsdl.find(f"{POLICY}Policy")
    assert policy is not None
    name = policy.get(ID)
    assert name
    addressing = policy.find("{http://www.w3.org/2007/05/addressing/metadata}Addressing")
    assert addressing is not None
    assert addressing.get(f"{POLICY}Optional") == "true"
    nested = [child.tag for child in addressing.iterfind(f"{POLICY}Policy/*")]
    assert nested == ["{http://www.w3.org/2007/05/addressing/metadata}AnonymousResponses"]
    for binding in wsdl.findall("w:binding", NS):
        assert binding[0].tag == f"{POLICY}PolicyReference"
        assert binding[0].get("URI") == f"#{name}"


def test_operations_of_the_standards_declare_the_faults_of_ws_resource(wsdl: _Element) -> None:
    for operation in wsdl.iterfind("w:portType/w:operation", NS):
        given = operation.find("w:input", NS)
        names = [fault.get("name") for fault in operation.findall("w:fault", NS)]
        if given is not None and "docs.oasis-open.org" in given.get(ACTION, "") and "ResourceUnknownFault" in names:
            assert "ResourceUnavailableFault" in names, operation.get("name")


def test_no_address_of_any_machine_stands_in_a_file(wsdl: _Element) -> None:
    addresses = [e.get("location", "") for e in wsdl.iterfind("w:service/w:port/*[@location]", NS)]
    assert len(addresses) == 2
    assert all(address.startswith("http://flyinglow.invalid/") for address in addresses)


def test_schemas_are_imported_by_relative_names_that_lead_somewhere(wsdl: _Element) -> None:
    imports = wsdl.findall(".//xs:import", NS)
    assert imports
    for link in imports:
        target = (ROOT / "wsdl" / link.get("schemaLocation", "")).resolve()
        assert target.parent == ROOT / "schemas"
        assert etree.parse(target).getroot().get("targetNamespace") == link.get("namespace")


def test_the_property_document_is_declared(wsdl: _Element, declared: dict[str, _Element]) -> None:
    (port_type,) = wsdl.findall("w:portType", NS)
    named = port_type.get("{http://docs.oasis-open.org/wsrf/rp-2}ResourceProperties")
    has_properties = port_type.find("w:operation[@name='GetResourceProperty']", NS) is not None
    assert (named is not None) == has_properties
    if named is not None:
        assert clark(port_type, named) in declared


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "consumer"])
def test_what_is_published_is_what_the_wsdl_says(contract: Contract, site: Site, name: str) -> None:
    assert site.endpoints[name].routes() == contract.operations(name)


@pytest.mark.parametrize("name", SERVICES)
def test_zeep_loads_it(name: str) -> None:
    import zeep

    client = zeep.Client(str(ROOT / "wsdl" / f"{name}.wsdl"))
    (service,) = client.wsdl.services.values()
    assert len(service.ports) == 2
    expected = {operation.get("name") for operation in load(name).iterfind("w:portType/w:operation", NS)}
    for port in service.ports.values():
        assert set(port.binding.all()) == expected


@pytest.mark.parametrize("name", SERVICES)
def test_suds_loads_it(name: str) -> None:
    import suds.client

    client = suds.client.Client((ROOT / "wsdl" / f"{name}.wsdl").as_uri(), cache=None)
    assert len(client.wsdl.services) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_served_has_its_address_and_finds_its_schemas(contract: Contract, name: str) -> None:
    served = etree.fromstring(contract.wsdl(name, f"http://site.example/{name}"))
    addresses = {e.get("location", "") for e in served.iterfind("w:service/w:port/*[@location]", NS)}
    assert addresses == {f"http://site.example/{name}"}
    for link in served.iterfind(".//xs:import", NS):
        folder, _, filename = link.get("schemaLocation", "").partition("/")
        assert folder == "schemas"
        assert filename in contract.schemas

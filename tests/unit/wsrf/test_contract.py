"""The contract's files: compiled once, served with the configured address, and the same as what Spyne publishes."""

import threading

import pytest
from lxml import etree

from flyinglow.wsrf.contract import Contract, ContractError
from flyinglow.wsrf.xml import NS, E, qname
from rigs.soap import Shelf, endpoint


@pytest.fixture
def contract() -> Contract:
    return Contract.packaged()


def test_it_is_read_once(contract: Contract) -> None:
    assert Contract.packaged() is contract


def test_an_element_is_judged(contract: Contract) -> None:
    contract.validate(E["rl"].Destroy())
    with pytest.raises(ContractError, match="Nope"):
        contract.validate(E["rl"].Nope())


def test_a_served_wsdl_names_the_configured_address_only(contract: Contract) -> None:
    for name in contract.names():
        root = etree.fromstring(contract.wsdl(name, "http://grid.example/x"))
        places = {port.get("location") for port in root.iter("{*}address")}
        assert places <= {"http://grid.example/x"}
        links = [link.get("schemaLocation") for link in root.iter(f"{{{NS['xs']}}}import")]
        assert links
        assert all(link is None or link.removeprefix("schemas/") in contract.schemas for link in links)


def test_operations_are_read_from_the_port_type(contract: Contract) -> None:
    published = contract.operations("workspace")
    assert endpoint(Shelf()).routes() <= published


def test_schemas_may_refer_to_nothing_outside() -> None:
    evil = (
        f'<xs:schema xmlns:xs="{NS["xs"]}" targetNamespace="urn:a">'
        '<xs:import namespace="urn:b" schemaLocation="http://192.0.2.1/b.xsd"/>'
        '<xs:element name="a" xmlns:b="urn:b" type="b:t"/></xs:schema>'
    )
    with pytest.raises((ContractError, etree.XMLSchemaParseError)):
        Contract({"a.xsd": evil.encode()}, {})


def test_what_one_caller_did_wrong_is_not_told_another(contract: Contract) -> None:
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(200):
            try:
                contract.validate(etree.Element(qname("rl", name)))
            except ContractError as error:
                if name not in str(error):
                    wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(f"Wrong{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""QNames as text, and endpoint references."""

import pytest
from lxml import etree

from flyinglow.nodectl.errors import InvalidError, UnknownError
from flyinglow.wsrf.addresses import ADDRESS, RESOURCE_ID, Addresses, is_id
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import (
    NS,
    PREFIX,
    E,
    clean_text,
    is_nil,
    local_name,
    number_of,
    qname,
    qname_text,
    qname_value,
    text_of,
)

BASE = "http://grid.example:8080/lease"


@pytest.fixture
def addresses() -> Addresses:
    return Addresses(BASE + "/")


def test_every_prefix_names_one_name_space() -> None:
    assert {PREFIX[uri]: uri for uri in PREFIX} == dict(NS)


def test_a_qname_is_resolved_where_it_stands() -> None:
    element = etree.fromstring('<a xmlns="urn:d" xmlns:p="urn:p"><b xmlns:p="urn:q"> p:x </b></a>')
    assert qname_value(element, "p:x") == "{urn:p}x"
    assert qname_value(element[0]) == "{urn:q}x"
    assert qname_value(element, "x") == "{urn:d}x"
    assert qname_value(etree.fromstring("<a/>"), "x") == "x"
    with pytest.raises(InvalidError):
        qname_value(element, "z:x")


def test_a_qname_is_written_with_what_it_needs() -> None:
    for name in (qname("fl", "State"), "{urn:other}x", "plain"):
        text, nsmap = qname_text(name)
        assert qname_value(etree.Element("e", nsmap=nsmap), text) == name


def test_small_things() -> None:
    assert local_name("{urn:x}a") == local_name("a") == "a"
    assert clean_text("a\x00b\n\ud800\ufffe\U0001f600") == "a\ufffdb\n\ufffd\ufffd\U0001f600"
    element = E["fl"].Reason(E["fl"].State(" x "))
    assert (text_of(element, qname("fl", "State")), text_of(element, "none", "-")) == ("x", "-")
    assert is_nil(etree.fromstring(f'<a xmlns:i="{NS["xsi"]}" i:nil=" 1"/>'))
    assert not is_nil(element)


@pytest.mark.parametrize("kind", ["workspace", "group", "ensemble"])
def test_a_reference_is_valid_and_comes_back(addresses: Addresses, kind: str) -> None:
    epr = addresses.epr(kind, "abc")
    Contract.packaged().validate(epr)
    assert text_of(epr, ADDRESS) == f"{BASE}/{kind}"
    assert addresses.read(etree.fromstring(etree.tostring(epr))) == (kind, "abc")


def test_a_reference_may_have_another_name_and_the_id_in_its_url(addresses: Addresses) -> None:
    assert addresses.read(addresses.epr("ensemble", "e1", qname("flf", "Join"))) == ("ensemble", "e1")
    bare = addresses.service_epr("group/g1")
    assert addresses.read(bare) == ("group", "g1")
    bare.append(E["wsa"].ReferenceParameters(E["fl"].ResourceID("g1")))
    assert addresses.read(bare) == ("group", "g1")


@pytest.mark.parametrize(
    ("address", "resource"),
    [
        ("http://other.example/lease/workspace", "a"),
        (BASE, "a"),
        (BASE + "/factory", "a"),
        (BASE + "/workspace", ""),
        (BASE + "/workspace/b", "a"),
        (BASE + "/workspace/a/b", ""),
        (BASE + "/workspace", "../a"),
        (BASE.replace("http", "HTTP") + "/workspace", "a"),
        ("", ""),
    ],
)
def test_a_foreign_reference_is_unknown(addresses: Addresses, address: str, resource: str) -> None:
    epr = E["wsa"].EndpointReference(E["wsa"].Address(address), E["wsa"].ReferenceParameters())
    epr[1].append(E["fl"].ResourceID(resource))
    with pytest.raises(UnknownError):
        addresses.read(epr)


def test_a_subscription_has_a_url_of_its_own(addresses: Addresses) -> None:
    epr = addresses.subscription_epr("s1", qname("wsnt", "SubscriptionReference"))
    assert epr.tag == qname("wsnt", "SubscriptionReference")
    assert [child.text for child in epr] == [BASE + "/subscription/s1"]


@pytest.mark.parametrize("base", ["grid.example", "ftp://grid.example", "http://", "http://a/?x", ""])
def test_a_base_that_is_no_url_is_refused(base: str) -> None:
    with pytest.raises(InvalidError):
        Addresses(base)


def test_the_reference_parameter_is_not_declared_in_any_schema() -> None:
    name = local_name(RESOURCE_ID)
    assert not any(f'name="{name}"'.encode() in data for data in Contract.packaged().schemas.values())


def test_an_id_is_a_short_plain_word() -> None:
    assert is_id("a1-_.~")
    assert not any(map(is_id, ["", "a b", "a/b", "é", "a" * 129, "a\n"]))


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("+7", 7), ("-0", 0), ("0", 0), ("007", 7), (str(2**63), 2**53), ("9" * 5000, 2**53), ("0" * 5000, 0)],
)
def test_a_number_of_any_length_is_read(text: str, number: int) -> None:
    assert number_of(etree.fromstring(f"<a><b>{text}</b></a>"), "b") == number
    assert number_of(etree.fromstring("<a/>"), "b") is None

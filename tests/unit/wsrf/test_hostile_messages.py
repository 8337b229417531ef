"""Whatever bytes come, the answer is a SOAP fault, and nothing was fetched, expanded or carried out."""

import builtins
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from flyinglow.wsrf.endpoint import Endpoint
from flyinglow.wsrf.envelope import MessageLimits
from flyinglow.wsrf.xml import NS, qname
from rigs.soap import ENVELOPES, Seen, Shelf, endpoint, fault_of, message, state_of

CLIENT = {"1.1": (qname("s11", "Client"),), "1.2": (qname("s12", "Sender"),)}
STATUS = {"1.1": 500, "1.2": 400}
BILLION = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.fixture(params=["1.1", "1.2"])
def soap(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refused(point: Endpoint, data: bytes, soap: str, code: str = "") -> str:
    """Assert the refusal and return its text."""
    fault = fault_of(point.call(data, soap=soap), soap)
    if code:
        assert fault.codes == (f"{{{ENVELOPES[soap]}}}{code}",)
        assert fault.status == 500
    else:
        assert fault.codes == CLIENT[soap]
        assert fault.status == STATUS[soap]
    return fault.text


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE x>",
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd">',
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{BILLION}]>',
        "<!-- first --><!DOCTYPE x>",
        '<?xml version="1.0"?>\n <?target data?>\n<!-- > --><!DOCTYPE x>',
    ],
)
def test_any_doctype_is_refused_before_anything_is_resolved(
    workspace: Endpoint, soap: str, doctype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[Any] = []
    monkeypatch.setattr(socket, "socket", lambda *a, **k: touched.append(a))
    monkeypatch.setattr(builtins, "open", lambda *a, **k: touched.append(a))
    text = refused(workspace, doctype.encode() + state_of(soap=soap), soap)
    assert "document type declaration" in text
    assert not touched


def test_a_doctype_hides_in_no_other_encoding(workspace: Endpoint, soap: str) -> None:
    hidden = ("\ufeff<!DOCTYPE x>" + state_of(soap=soap).decode()).encode("utf-16-le")
    assert "document type declaration" in refused(workspace, hidden, soap)
    declared = b'<?xml version="1.0" encoding="UTF-7"?>' + state_of(soap=soap)
    assert "UTF-8 or UTF-16" in refused(workspace, declared, soap)


def test_a_doctype_in_character_data_is_only_text(workspace: Endpoint) -> None:
    header = "<x:Note xmlns:x='urn:x'><![CDATA[<!DOCTYPE html>]]></x:Note>"
    assert workspace.call(state_of(more=header)).status == 200


def test_entity_references_are_refused(workspace: Endpoint, soap: str) -> None:
    refused(workspace, state_of(soap=soap).replace(b"fl:State<", b"&xxe;<"), soap)


def test_depth_is_bounded(workspace: Endpoint, soap: str) -> None:
    for depth in (65, 300, 100_000):
        nested = "<x>" * depth + "</x>" * depth
        assert "deeper" in refused(workspace, message(nested, soap=soap), soap)


def test_a_hundred_thousand_headers_are_refused_quickly(workspace: Endpoint, soap: str) -> None:
    data = state_of(more="<h xmlns='urn:x'/>" * 100_000, soap=soap)
    began = time.process_time()
    refused(workspace, data, soap)
    assert time.process_time() - began < 2


def test_header_count_is_bounded(workspace: Endpoint, soap: str) -> None:
    assert workspace.call(state_of(more="<h xmlns='urn:x'/>" * 63, soap=soap), soap=soap).status == 200
    assert "64 headers" in refused(workspace, state_of(more="<h xmlns='urn:x'/>" * 64, soap=soap), soap)


def test_elements_and_attributes_are_bounded(shelf: Shelf, soap: str) -> None:
    point = endpoint(shelf, limits=MessageLimits(elements=50, attributes=50))
    children = "".join(f"<c{n}/>" for n in range(60))
    assert "50 elements" in refused(point, message(f"<x>{children}</x>", soap=soap), soap)
    attributes = " ".join(f'a{n}="1"' for n in range(60))
    assert "50 attributes" in refused(point, message(f"<x {attributes}/>", soap=soap), soap)


def test_hundred_thousand_attributes_are_refused_quickly(workspace: Endpoint) -> None:
    attributes = " ".join(f'a{n}=""' for n in range(100_000))
    began = time.process_time()
    refused(workspace, message(f"<x {attributes}/>"), "1.1")
    assert time.process_time() - began < 3


@pytest.mark.parametrize("data", [b"", b" ", b"\0", b"<", b"GET / HTTP/1.0", b"\xff\xfe\x00", b"{}", b"\x80\x81"])
def test_what_is_no_xml_is_refused(workspace: Endpoint, soap: str, data: bytes) -> None:
    refused(workspace, data, soap)


@pytest.mark.parametrize("text", [b"a\0b", b"a\x1bb", b"\xc0\x80", b"\xed\xa0\x80"])
def test_characters_that_xml_forbids_are_refused(workspace: Endpoint, soap: str, text: bytes) -> None:
    refused(workspace, state_of(soap=soap).replace(b"fl:State<", text + b"<"), soap)


def test_an_empty_body_and_two_children_are_refused(workspace: Endpoint, soap: str) -> None:
    one = "<rp:GetResourceProperty>fl:State</rp:GetResourceProperty>"
    for body in ("", "  ", "text", one + one, one + "<rl:Destroy/>"):
        assert "one child" in refused(workspace, message(body, soap=soap), soap)


def test_two_bodies_and_two_headers_are_refused(workspace: Endpoint, soap: str, shelf: Shelf) -> None:
    ns = ENVELOPES[soap]
    destroy = f'<s:Body><rl:Destroy xmlns:rl="{NS["rl"]}"/></s:Body>'
    data = f'<s:Envelope xmlns:s="{ns}">{destroy}{destroy}</s:Envelope>'.encode()
    assert "one Body" in fault_of(workspace.call(data, soap=soap, resource="w1"), soap).text
    body = f'<s:Body><rl:Destroy xmlns:rl="{NS["rl"]}"/></s:Body>'
    data = f'<s:Envelope xmlns:s="{ns}"><s:Header/><s:Header/>{body}</s:Envelope>'.encode()
    assert "one Body" in fault_of(workspace.call(data, soap=soap, resource="w1"), soap).text
    assert shelf.destroyed == []


def test_comments_and_instructions_do_not_split_a_value(workspace: Endpoint, seen: Seen) -> None:
    answer = workspace.call(state_of("w<!-- x -->1").replace(b"fl:State<", b"fl:St<?x y?>ate<"))
    assert answer.status == 200


def test_the_wrong_version_is_told(workspace: Endpoint) -> None:
    refused(workspace, state_of(soap="1.2"), "1.1", "VersionMismatch")
    refused(workspace, state_of(soap="1.1"), "1.2", "VersionMismatch")
    fault = fault_of(workspace.call(state_of(), soap="1.2"), "1.2")
    offered = [item.get("qname") for item in fault.headers[qname("s12", "Upgrade")]]
    assert offered == ["s:Envelope", "s11:Envelope"]
    refused(workspace, state_of().replace(NS["s11"].encode(), b"urn:other"), "1.1", "VersionMismatch")
    refused(workspace, b"<html/>", "1.1", "VersionMismatch")


def test_an_unknown_header_that_must_be_understood_stops_the_call(workspace: Endpoint, shelf: Shelf, soap: str) -> None:
    for value in ("1", "true", " 1 "):
        header = f'<fl:ResourceID>w1</fl:ResourceID><x:Pay xmlns:x="urn:x" s:mustUnderstand="{value}"/>'
        refused(workspace, message("<rl:Destroy/>", header, soap), soap, "MustUnderstand")
    assert shelf.destroyed == []
    fault = fault_of(workspace.call(message("<rl:Destroy/>", header, "1.2"), soap="1.2"), "1.2")
    told = fault.headers[qname("s12", "NotUnderstood")]
    prefix, _, local = told.get("qname", "").partition(":")
    assert (told.nsmap[prefix], local) == ("urn:x", "Pay")


def test_calling_it_a_reference_parameter_does_not_make_it_understood(workspace: Endpoint, soap: str) -> None:
    header = '<x:Pay xmlns:x="urn:x" s:mustUnderstand="1" wsa:IsReferenceParameter="true"/>'
    refused(workspace, state_of(more=header, soap=soap), soap, "MustUnderstand")


def test_headers_for_others_and_optional_ones_are_ignored(workspace: Endpoint, soap: str) -> None:
    role = {"1.1": "actor", "1.2": "role"}[soap]
    for header in (
        f'<x:Pay xmlns:x="urn:x" s:mustUnderstand="1" s:{role}="urn:somebody"/>',
        '<x:Pay xmlns:x="urn:x" s:mustUnderstand="0"/>',
        '<x:Security xmlns:x="urn:x"><x:User/></x:Security>',
    ):
        assert workspace.call(state_of(more=header, soap=soap), soap=soap).status == 200


def test_a_schema_location_in_a_message_is_not_followed(workspace: Endpoint, tmp_path: Path) -> None:
    evil = tmp_path / "evil.xsd"
    evil.write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:evil">'
        '<xs:simpleType name="Evil"><xs:restriction base="xs:QName"/></xs:simpleType></xs:schema>'
    )
    where = f'xsi:schemaLocation="urn:evil {evil.as_uri()}" xsi:type="q:Evil" xmlns:q="urn:evil"'
    data = state_of().replace(b"<rp:GetResourceProperty>", f"<rp:GetResourceProperty {where}>".encode())
    refused(workspace, data, "1.1")


def test_what_the_schema_forbids_is_refused(workspace: Endpoint, shelf: Shelf, soap: str) -> None:
    text = refused(workspace, message("<rl:Destroy><x/></rl:Destroy>", soap=soap), soap)
    assert "schema" in text
    assert shelf.destroyed == []


def test_an_unknown_request_is_refused(workspace: Endpoint, soap: str) -> None:
    assert "not a request" in refused(workspace, message("<x:Evil xmlns:x='urn:x'/>", soap=soap), soap)


def test_utf16_and_latin1_are_read(workspace: Endpoint) -> None:
    assert workspace.call(state_of().decode().encode("utf-16")).status == 200
    declared = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + state_of(more="<x>\u00e9</x>").decode().encode("latin1")
    assert workspace.call(declared).status == 200

"""WS-Addressing 1.0 in and out; clients that send none of it work as well."""

import pytest
from lxml import etree

from flyinglow.wsrf.addressing import ANONYMOUS, NONE
from flyinglow.wsrf.endpoint import Answer, Endpoint
from flyinglow.wsrf.faults import ACTION_SOAP, ACTION_WSA, ACTION_WSRF
from flyinglow.wsrf.xml import NS, qname, text_of
from rigs.soap import GET, Shelf, endpoint, fault_of, message, start_port, state_of

DESTROY = "http://docs.oasis-open.org/wsrf/rlw-2/ImmediateResourceTermination/Destroy"
ACTION = f"<wsa:Action>{GET}Request</wsa:Action>"
ID = "<wsa:MessageID>urn:uuid:7</wsa:MessageID>"


@pytest.fixture(params=["1.1", "1.2"])
def soap(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def to(address: str, parameters: str = "") -> str:
    inside = f"<wsa:ReferenceParameters>{parameters}</wsa:ReferenceParameters>" if parameters else ""
    return f"<wsa:Address>{address}</wsa:Address>{inside}"


def said(answer: Answer) -> dict[str, str]:
    header = etree.fromstring(answer.body).find("{*}Header")
    return {} if header is None else {str(child.tag): child.text or "" for child in header}


def test_who_sends_no_addressing_gets_none(workspace: Endpoint, soap: str) -> None:
    assert said(workspace.call(state_of(soap=soap), soap=soap)) == {}


def test_an_answer_says_action_to_and_what_it_relates_to(workspace: Endpoint, soap: str) -> None:
    told = said(workspace.call(state_of(more=ACTION + ID, soap=soap), soap=soap))
    assert told[qname("wsa", "Action")] == GET + "Response"
    assert told[qname("wsa", "To")] == ANONYMOUS
    assert told[qname("wsa", "RelatesTo")] == "urn:uuid:7"
    assert told[qname("wsa", "MessageID")].startswith("urn:uuid:")


def test_every_answer_has_an_id_of_its_own(workspace: Endpoint) -> None:
    name = qname("wsa", "MessageID")
    asked = state_of(more=ACTION + ID)
    assert said(workspace.call(asked))[name] != said(workspace.call(asked))[name]


def test_without_a_message_id_there_is_nothing_to_relate_to(workspace: Endpoint) -> None:
    assert qname("wsa", "RelatesTo") not in said(workspace.call(state_of(more=ACTION)))


def test_faults_have_the_actions_that_the_standards_give_them(workspace: Endpoint, soap: str) -> None:
    action = qname("wsa", "Action")
    typed = said(workspace.call(state_of("gone", more=ACTION + ID, soap=soap), soap=soap))
    assert (typed[action], typed[qname("wsa", "RelatesTo")]) == (ACTION_WSRF, "urn:uuid:7")
    wrong = "<wsa:Action>urn:wrong</wsa:Action>"
    assert said(workspace.call(state_of(more=wrong, soap=soap), soap=soap))[action] == ACTION_WSA
    bad = message("<rl:Destroy><x/></rl:Destroy>", f"<wsa:Action>{DESTROY}Request</wsa:Action>", soap)
    assert said(workspace.call(bad, soap=soap))[action] == ACTION_SOAP


def test_an_action_of_nobody_is_not_supported(workspace: Endpoint, soap: str) -> None:
    fault = fault_of(workspace.call(state_of(more="<wsa:Action>urn:wrong</wsa:Action>", soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "ActionNotSupported")
    problem = fault.detail if soap == "1.2" else fault.headers[qname("wsa", "FaultDetail")][0]
    assert problem is not None
    assert text_of(problem, qname("wsa", "Action")) == "urn:wrong"


def test_an_unknown_message_with_an_unknown_action_is_not_supported(workspace: Endpoint) -> None:
    data = message("<x:Evil xmlns:x='urn:x'/>", "<wsa:Action>urn:wrong</wsa:Action>")
    assert fault_of(workspace.call(data)).codes == (qname("wsa", "ActionNotSupported"),)


def test_the_action_of_another_message_does_not_match(workspace: Endpoint, shelf: Shelf, soap: str) -> None:
    header = f"<fl:ResourceID>w1</fl:ResourceID>{ACTION}"
    fault = fault_of(workspace.call(message("<rl:Destroy/>", header, soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "ActionMismatch")
    if soap == "1.2":
        assert fault.codes[1] == qname("wsa", "InvalidAddressingHeader")
    assert shelf.destroyed == []


def test_soap_action_must_equal_the_action_when_both_are_there(workspace: Endpoint) -> None:
    assert workspace.call(state_of(more=ACTION), soap_action=GET + "Request").status == 200
    assert workspace.call(state_of(more=ACTION), soap_action="").status == 200
    assert workspace.call(state_of(), soap_action="urn:whatever").status == 200
    fault = fault_of(workspace.call(state_of(more=ACTION), soap_action="urn:other"))
    assert fault.codes == (qname("wsa", "ActionMismatch"),)


@pytest.mark.parametrize("name", ["To", "Action", "MessageID", "ReplyTo", "FaultTo", "From"])
def test_a_header_that_is_twice_there_is_invalid(workspace: Endpoint, soap: str, name: str) -> None:
    value = {"Action": f"{GET}Request"} | dict.fromkeys(("ReplyTo", "FaultTo", "From"), to(ANONYMOUS))
    header = f"<wsa:{name}>{value.get(name, 'urn:x')}</wsa:{name}>"
    rest = "" if name == "Action" else ACTION
    assert workspace.call(state_of(more=rest + header, soap=soap), soap=soap).status == 200
    fault = fault_of(workspace.call(state_of(more=rest + header + header, soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "InvalidCardinality")
    if soap == "1.2":
        assert fault.codes[1] == qname("wsa", "InvalidAddressingHeader")
        assert fault.detail is not None
        assert fault.detail.text == f"wsa:{name}"


def test_two_resource_ids_are_one_too_many(workspace: Endpoint) -> None:
    two = state_of(more="<fl:ResourceID>w2</fl:ResourceID>")
    assert fault_of(workspace.call(two)).codes == (qname("wsa", "InvalidCardinality"),)


@pytest.mark.parametrize("name", ["ReplyTo", "FaultTo"])
@pytest.mark.parametrize("address", ["http://192.0.2.1/", "file:///etc/passwd", ""])
def test_answers_go_nowhere_else(workspace: Endpoint, name: str, address: str, soap: str) -> None:
    header = f"{ACTION}<wsa:{name}>{to(address)}</wsa:{name}>"
    fault = fault_of(workspace.call(state_of(more=header, soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "OnlyAnonymousAddressSupported")


def test_who_wants_no_answer_gets_202_and_it_is_done_all_the_same(workspace: Endpoint, shelf: Shelf, soap: str) -> None:
    action = f"<wsa:Action>{DESTROY}Request</wsa:Action>"
    reply = f"<fl:ResourceID>w1</fl:ResourceID>{action}<wsa:ReplyTo>{to(NONE)}</wsa:ReplyTo>"
    assert workspace.call(message("<rl:Destroy/>", reply, soap), soap=soap) == Answer(202, "", b"")
    assert shelf.destroyed == ["w1"]
    assert workspace.call(message("<rl:Destroy/>", reply, soap), soap=soap) == Answer(202, "", b"")


@pytest.mark.parametrize(
    ("reply", "fault", "statuses"),
    [
        (ANONYMOUS, ANONYMOUS, ("answer", "fault")),
        (ANONYMOUS, NONE, ("answer", "nothing")),
        (NONE, ANONYMOUS, ("nothing", "fault")),
        (NONE, NONE, ("nothing", "nothing")),
        (NONE, "", ("nothing", "nothing")),
        ("", NONE, ("answer", "nothing")),
    ],
)
def test_answers_and_faults_go_each_where_they_are_wanted(
    workspace: Endpoint, soap: str, reply: str, fault: str, statuses: tuple[str, str]
) -> None:
    header = ACTION + "".join(
        f"<wsa:{name}>{to(address)}</wsa:{name}>"
        for name, address in (("ReplyTo", reply), ("FaultTo", fault))
        if address
    )
    good = workspace.call(state_of(more=header, soap=soap), soap=soap)
    bad = workspace.call(state_of("gone", more=header, soap=soap), soap=soap)
    told = (
        "nothing" if good == Answer(202, "", b"") else "answer",
        "nothing" if bad == Answer(202, "", b"") else "fault",
    )
    assert told == statuses
    assert good.status in {200, 202}


@pytest.mark.parametrize("name", ["To", "MessageID", "ReplyTo", "FaultTo", "From"])
def test_a_message_with_addressing_has_an_action(workspace: Endpoint, soap: str, name: str) -> None:
    value = "urn:x" if name in {"To", "MessageID"} else to(ANONYMOUS)
    header = f"<wsa:{name}>{value}</wsa:{name}>"
    fault = fault_of(workspace.call(state_of(more=header, soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "MessageAddressingHeaderRequired")
    detail = fault.detail if soap == "1.2" else fault.headers[qname("wsa", "FaultDetail")][0]
    assert detail is not None
    assert (detail.tag, detail.text) == (qname("wsa", "ProblemHeaderQName"), "wsa:Action")


def test_the_parameters_of_where_answers_go_come_back_as_headers(workspace: Endpoint, soap: str) -> None:
    one, two = "<x:One xmlns:x='urn:x'>1</x:One>", "<x:Two xmlns:x='urn:x'>2</x:Two>"
    where = f"<wsa:ReplyTo>{to(ANONYMOUS, one)}</wsa:ReplyTo>"
    told = said(workspace.call(state_of(more=ACTION + where, soap=soap), soap=soap))
    assert told["{urn:x}One"] == "1"
    where += f"<wsa:FaultTo>{to(ANONYMOUS, two)}</wsa:FaultTo>"
    answer = workspace.call(state_of("gone", more=ACTION + where, soap=soap), soap=soap)
    fault = fault_of(answer, soap)
    assert fault.headers["{urn:x}Two"].get(qname("wsa", "IsReferenceParameter")) == "true"
    assert "{urn:x}One" not in fault.headers


def test_without_a_fault_address_faults_go_where_answers_go(workspace: Endpoint, soap: str) -> None:
    one = "<x:One xmlns:x='urn:x'>1</x:One>"
    where = f"<wsa:ReplyTo>{to(ANONYMOUS, one)}</wsa:ReplyTo>"
    fault = fault_of(workspace.call(state_of("gone", more=ACTION + where, soap=soap), soap=soap), soap)
    assert fault.headers["{urn:x}One"].text == "1"


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("", "MissingAddressInEPR"),
        (to(ANONYMOUS, "<wsa:To>urn:x</wsa:To>"), "InvalidEPR"),
        (to(ANONYMOUS, "<bare/>"), "InvalidEPR"),
        (to(ANONYMOUS, "<s:Body/>"), "InvalidEPR"),
    ],
)
@pytest.mark.parametrize("name", ["ReplyTo", "FaultTo", "From"])
def test_a_reference_that_is_none_is_invalid(workspace: Endpoint, soap: str, name: str, inside: str, code: str) -> None:
    header = f"{ACTION}<wsa:{name}>{inside}</wsa:{name}>"
    fault = fault_of(workspace.call(state_of(more=header, soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", code)


def test_what_is_wrong_with_the_headers_is_told_in_an_addressed_message(workspace: Endpoint, soap: str) -> None:
    header = f"{ACTION}{ID}<wsa:ReplyTo>{to('http://192.0.2.1/')}</wsa:ReplyTo>"
    told = said(workspace.call(state_of(more=header, soap=soap), soap=soap))
    assert (told[qname("wsa", "Action")], told[qname("wsa", "RelatesTo")]) == (ACTION_WSA, "urn:uuid:7")


@pytest.mark.parametrize(
    "address",
    ["http://any.example/workspace", "https://h:1/under/workspace/w1", "http://h/workspace/", ANONYMOUS, "urn:logical"],
)
def test_a_message_is_for_whoever_it_came_to(workspace: Endpoint, soap: str, address: str) -> None:
    header = f"{ACTION}<wsa:To>{address}</wsa:To>"
    assert workspace.call(state_of(more=header, soap=soap), soap=soap).status == 200


@pytest.mark.parametrize("address", ["http://h/group", "http://h/workspace/w2", "http://h/", "http://[h/workspace"])
def test_a_message_for_somebody_else_has_come_astray(workspace: Endpoint, soap: str, address: str) -> None:
    header = f"{ACTION}<wsa:To>{address}</wsa:To>"
    fault = fault_of(workspace.call(state_of(more=header, soap=soap), soap=soap), soap)
    assert fault.codes[-1] == qname("wsa", "DestinationUnreachable")
    detail = fault.detail if soap == "1.2" else fault.headers[qname("wsa", "FaultDetail")][0]
    assert detail is not None
    assert (detail.tag, detail.text) == (qname("wsa", "ProblemIRI"), address)


def test_a_soap_action_that_contradicts_is_named(workspace: Endpoint) -> None:
    fault = fault_of(workspace.call(state_of(more=ACTION), soap_action="urn:other"))
    (problem,) = fault.headers[qname("wsa", "FaultDetail")]
    assert text_of(problem, qname("wsa", "SoapAction")) == "urn:other"


@pytest.mark.parametrize("name", ["To", "Action", "MessageID", "ReplyTo", "FaultTo", "From", "RelatesTo"])
def test_known_headers_may_have_to_be_understood(workspace: Endpoint, soap: str, name: str) -> None:
    value = {"Action": f"{GET}Request"} | dict.fromkeys(("ReplyTo", "FaultTo", "From"), to(ANONYMOUS))
    marked = f'<wsa:{name} s:mustUnderstand="1">{value.get(name, "urn:x")}</wsa:{name}>'
    rest = "" if name == "Action" else ACTION
    assert workspace.call(state_of(more=rest + marked, soap=soap), soap=soap).status == 200


def test_the_resource_is_named_by_header_or_url_or_both_alike(workspace: Endpoint) -> None:
    assert workspace.call(state_of("w1")).status == 200
    assert workspace.call(state_of(""), resource="w1").status == 200
    assert workspace.call(state_of("w1"), resource="w1").status == 200
    assert fault_of(workspace.call(state_of("w1"), resource="w2")).kind == qname("fl", "InvalidFault")


@pytest.mark.parametrize(
    "mark", ["", 'wsa:IsReferenceParameter="true"', 'wsa:IsReferenceParameter="1"', 's:mustUnderstand="1"']
)
def test_a_reference_parameter_is_one_however_it_is_marked(
    workspace: Endpoint, shelf: Shelf, soap: str, mark: str
) -> None:
    named = f"<fl:ResourceID {mark}>w1</fl:ResourceID>"
    assert workspace.call(message("<rl:Destroy/>", named, soap), soap=soap).status == 200
    assert shelf.destroyed == ["w1"]


@pytest.mark.parametrize("resource", ["", "w2", "../w1", "w 1", "x" * 5000])
def test_an_unknown_foreign_or_missing_resource_is_unknown(workspace: Endpoint, resource: str, soap: str) -> None:
    fault = fault_of(workspace.call(state_of(resource, soap=soap), soap=soap), soap)
    assert fault.kind == qname("r", "ResourceUnknownFault")


def test_an_endpoint_that_is_one_resource_takes_no_id(shelf: Shelf) -> None:
    seen: list[str] = []
    point = endpoint(shelf, start_port(lambda call: seen.append(call.resource)), resources=False)
    start = "<flw:Start/>"
    point.call(message(start))
    assert seen == [""]
    named = point.call(message(start, "<fl:ResourceID>w1</fl:ResourceID>"))
    assert fault_of(named).kind == qname("r", "ResourceUnknownFault")
    assert seen == [""]


def test_other_headers_reach_the_operation(shelf: Shelf) -> None:
    seen: list[object] = []
    point = endpoint(shelf, start_port(lambda call: seen.extend(h.tag for h in call.headers)))
    point.call(message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID><x:Note xmlns:x='urn:x'/>"))
    assert seen == ["{urn:x}Note"]


def test_the_prefix_does_not_matter(workspace: Endpoint) -> None:
    data = f"""<e:Envelope xmlns:e="{NS["s11"]}">
    <e:Header><a:ResourceID xmlns:a="{NS["fl"]}">w1</a:ResourceID></e:Header>
    <e:Body><GetResourceProperty xmlns="{NS["rp"]}" xmlns:z="{NS["fl"]}">z:State</GetResourceProperty></e:Body>
    </e:Envelope>"""
    assert workspace.call(data.encode()).status == 200

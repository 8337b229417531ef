"""WS-ResourceProperties and WS-ResourceLifetime over a directory of one workspace."""

from datetime import datetime
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.wsrf import lifetime
from flyinglow.wsrf.endpoint import Endpoint, Pending
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.operation import Inbound
from flyinglow.wsrf.xml import qname, timestamp
from flyinglow.wsrf.xpath.evaluator import DIALECT
from rigs.soap import NOW, RPW, Seen, Shelf, body_of, endpoint, fault_of, message, state_of

W1 = "<fl:ResourceID>w1</fl:ResourceID>"
W2 = "<fl:ResourceID>w2</fl:ResourceID>"
DOCUMENT = "<rp:GetResourcePropertyDocument/>"


def many(*names: str) -> bytes:
    wanted = "".join(f"<rp:ResourceProperty>{name}</rp:ResourceProperty>" for name in names)
    return message(f"<rp:GetMultipleResourceProperties>{wanted}</rp:GetMultipleResourceProperties>", W1)


def until(requested: str) -> bytes:
    return message(f"<rl:SetTerminationTime>{requested}</rl:SetTerminationTime>", W1)


def at(text: str) -> bytes:
    return until(f"<rl:RequestedTerminationTime>{text}</rl:RequestedTerminationTime>")


def lasting(text: str) -> bytes:
    return until(f"<rl:RequestedLifetimeDuration>{text}</rl:RequestedLifetimeDuration>")


def test_a_property_is_returned(workspace: Endpoint, seen: Seen) -> None:
    (state,) = body_of(workspace.call(state_of()))
    assert (state.tag, state.text) == (qname("fl", "State"), "Running")
    assert [direction for direction, _ in seen.messages] == ["request", "response"]


def test_a_legal_but_empty_property_is_an_empty_answer(workspace: Endpoint) -> None:
    assert len(body_of(workspace.call(state_of(name="fl:Reason")))) == 0


@pytest.mark.parametrize("name", ["fl:Nope", "State", "rp:State"])
def test_a_name_that_is_no_property_is_refused(workspace: Endpoint, name: str) -> None:
    assert fault_of(workspace.call(state_of(name=name))).kind == qname("rp", "InvalidResourcePropertyQNameFault")


def test_an_undeclared_prefix_is_refused(workspace: Endpoint) -> None:
    assert fault_of(workspace.call(state_of(name="zz:State"))).status == 500


def test_many_properties_come_in_the_order_asked_for_and_once(workspace: Endpoint) -> None:
    dialect, state = "rp:QueryExpressionDialect", "fl:State"
    for names in ((dialect, "fl:Reason", state, dialect), (state, dialect, state)):
        answer = body_of(workspace.call(many(*names)))
        expected = [qname(*name.split(":")) for name in dict.fromkeys(names) if name != "fl:Reason"]
        assert [child.tag for child in answer] == expected


def test_one_wrong_name_fails_all(workspace: Endpoint) -> None:
    fault = fault_of(workspace.call(many("fl:State", "fl:Nope")))
    assert fault.kind == qname("rp", "InvalidResourcePropertyQNameFault")


def test_the_document_has_the_root_that_the_endpoint_names(workspace: Endpoint) -> None:
    shelfless = endpoint(Shelf())  # not checked against the schema: the shelf has only one of the properties
    (document,) = body_of(shelfless.call(message(DOCUMENT, W1)))
    assert document.tag == qname("fl", "WorkspaceProperties")
    assert [child.tag for child in document] == [qname("fl", "State"), qname("rp", "QueryExpressionDialect")]


def test_the_published_actions_are_those_of_the_standard(workspace: Endpoint) -> None:
    name = "GetMultipleResourceProperties"
    assert (qname("rp", name), f"{RPW}{name}/{name}Request") in workspace.routes()


def test_destroy_is_carried_out_once_then_the_resource_is_unknown(workspace: Endpoint, shelf: Shelf) -> None:
    destroy = message("<rl:Destroy/>", W1)
    assert body_of(workspace.call(destroy)).tag == qname("rl", "DestroyResponse")
    for again in (destroy, state_of(), message(DOCUMENT, W1), lasting("PT1H")):
        assert fault_of(workspace.call(again)).kind == qname("r", "ResourceUnknownFault")
    assert shelf.destroyed == ["w1"]


def test_a_nil_destroy_as_soap_lite_sends_it_is_accepted(workspace: Endpoint, shelf: Shelf) -> None:
    assert workspace.call(message('<rl:Destroy xsi:nil="true"/>', W1)).status == 200
    assert shelf.destroyed == ["w1"]


def test_a_termination_time_is_set(workspace: Endpoint, shelf: Shelf) -> None:
    answer = body_of(workspace.call(at("2026-11-22T15:30:00+02:00")))
    assert answer.findtext(qname("rl", "NewTerminationTime")) == "2026-11-22T13:30:00Z"
    assert answer.findtext(qname("rl", "CurrentTime")) == timestamp(NOW)
    assert timestamp(shelf.ends_at) == "2026-11-22T13:30:00Z"


def test_a_lifetime_is_counted_from_now(workspace: Endpoint) -> None:
    answer = body_of(workspace.call(lasting("PT90M")))
    assert answer.findtext(qname("rl", "NewTerminationTime")) == "2026-11-22T13:30:00Z"


@pytest.mark.parametrize(
    "asked",
    [
        until('<rl:RequestedTerminationTime xsi:nil="true"/>'),
        lasting("P100000000Y"),
        lasting("-PT1H"),
        at("99999-01-01T00:00:00Z"),
        at("2027-11-22T15:30:00Z"),
    ],
)
def test_what_cannot_be_a_termination_time(workspace: Endpoint, shelf: Shelf, asked: bytes) -> None:
    before = shelf.ends_at
    assert fault_of(workspace.call(asked)).kind == qname("rl", "UnableToSetTerminationTimeFault")
    assert shelf.ends_at == before


def test_the_past_is_rejected_and_destroy_recommended(workspace: Endpoint) -> None:
    for asked in (at("2026-11-22T11:59:59Z"), at("2026-11-22T12:00:00Z"), lasting("PT0S"), at("0001-01-01T00:00:00Z")):
        fault = fault_of(workspace.call(asked))
        assert fault.kind == qname("rl", "TerminationTimeChangeRejectedFault")
        assert "Destroy" in fault.text


def test_what_policy_does_not_grant_is_rejected(workspace: Endpoint) -> None:
    fault = fault_of(workspace.call(lasting("P2D")))
    assert fault.kind == qname("rl", "TerminationTimeChangeRejectedFault")
    assert fault.text == "a day is the most"


class AskingShelf(Shelf):
    """A directory that has to ask somebody else."""

    def set_termination_time(self, caller: object, resource: str, at: datetime) -> Any:
        async def asked() -> datetime:
            return Shelf.set_termination_time(self, caller, resource, at)

        return asked()


@pytest.mark.parametrize(
    ("asked", "tag"),
    [
        (at("2026-11-22T13:30:00Z"), "SetTerminationTimeResponse"),
        (lasting("P2D"), "TerminationTimeChangeRejectedFault"),
        (at("2027-11-22T15:30:00Z"), "UnableToSetTerminationTimeFault"),
    ],
)
def test_an_end_may_take_a_question_to_others(asked: bytes, tag: str) -> None:
    pending = endpoint(AskingShelf()).handle(Inbound(body=asked, soap="1.1", caller=LOCAL, peer="p"))
    assert isinstance(pending, Pending)
    result: Any = None
    try:
        pending.awaitable.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        result = done.value
    except TypedFault as fault:
        result = fault
    answer = pending.finish(result)
    if tag.endswith("Response"):
        assert body_of(answer).findtext(qname("rl", "NewTerminationTime")) == "2026-11-22T13:30:00Z"
    else:
        assert fault_of(answer).kind == qname("rl", tag)


def test_never_is_refused_in_words(workspace: Endpoint) -> None:
    assert "for ever" in fault_of(workspace.call(until('<rl:RequestedTerminationTime xsi:nil="true"/>'))).text


@pytest.mark.parametrize("text", ["soon", "", "P", "PT", "2026-13-01T00:00:00Z"])
def test_what_the_schema_does_not_read_never_arrives(workspace: Endpoint, text: str) -> None:
    assert "schema" in fault_of(workspace.call(at(text))).text
    assert "schema" in fault_of(workspace.call(lasting(text))).text


def test_destroy_alone_can_be_published(shelf: Shelf) -> None:
    point = Endpoint("x", [lifetime.port(shelf, scheduled=False)], "workspace", now=lambda: NOW)
    assert {element for element, _ in point.routes()} == {qname("rl", "Destroy")}


def ask(expression: str, dialect: str = DIALECT) -> bytes:
    query = f'<rp:QueryExpression Dialect="{dialect}">{expression}</rp:QueryExpression>'
    return message(f"<rp:QueryResourceProperties>{query}</rp:QueryResourceProperties>", W1)


def test_a_query_selects_elements_with_the_prefixes_in_scope_where_it_stands() -> None:
    (state,) = body_of(endpoint(Shelf()).call(ask("/fl:WorkspaceProperties/fl:State")))
    assert (state.tag, state.text) == (qname("fl", "State"), "Running")


@pytest.mark.parametrize(
    ("expression", "text"),
    [("string(//fl:State)", "Running"), ("count(//fl:Nothing)", "0"), ("//fl:State = 'Running'", "true")],
)
def test_a_query_answers_texts_numbers_and_truths(expression: str, text: str) -> None:
    answer = body_of(endpoint(Shelf()).call(ask(expression)))
    assert (len(answer), answer.text) == (0, text)


def test_a_query_that_selects_nothing_is_an_empty_answer() -> None:
    answer = body_of(endpoint(Shelf()).call(ask("//fl:Nothing")))
    assert (len(answer), answer.text) == (0, None)


@pytest.mark.parametrize(
    ("expression", "dialect", "fault"),
    [
        ("//fl:State", "urn:other", "UnknownQueryExpressionDialectFault"),
        ("//", DIALECT, "InvalidQueryExpressionFault"),
        ("", DIALECT, "InvalidQueryExpressionFault"),
        ("//nosuch:State", DIALECT, "InvalidQueryExpressionFault"),
        ("$x", DIALECT, "QueryEvaluationErrorFault"),
    ],
)
def test_a_query_that_cannot_be_answered_is_told_why(expression: str, dialect: str, fault: str) -> None:
    assert fault_of(endpoint(Shelf()).call(ask(expression, dialect))).kind == qname("rp", fault)


def test_an_expression_of_no_dialect_is_of_none_that_is_known() -> None:
    """The standard's schema lets the attribute be absent."""
    query = (
        "<rp:QueryResourceProperties><rp:QueryExpression>//fl:State</rp:QueryExpression></rp:QueryResourceProperties>"
    )
    fault = fault_of(endpoint(Shelf()).call(message(query, W1)))
    assert fault.kind == qname("rp", "UnknownQueryExpressionDialectFault")


def test_a_query_about_a_resource_that_is_not_there_is_refused_as_such() -> None:
    query = '<rp:QueryExpression Dialect="x">1</rp:QueryExpression>'.replace('"x"', f'"{DIALECT}"')
    answer = endpoint(Shelf()).call(message(f"<rp:QueryResourceProperties>{query}</rp:QueryResourceProperties>", W2))
    assert fault_of(answer).kind == qname("r", "ResourceUnknownFault")


def test_every_resource_names_the_dialect_it_can_be_asked_in(workspace: Endpoint) -> None:
    (dialect,) = body_of(workspace.call(state_of(name="rp:QueryExpressionDialect")))
    assert dialect.text == DIALECT
    (document,) = body_of(endpoint(Shelf()).call(message(DOCUMENT, W1)))
    assert document.findtext(qname("rp", "QueryExpressionDialect")) == DIALECT

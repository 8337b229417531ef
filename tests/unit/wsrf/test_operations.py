"""Operations: whole elements, one-way, awaitable, under more than one action."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.nodectl.errors import ConflictError
from flyinglow.wsrf.endpoint import Answer, Endpoint, Pending
from flyinglow.wsrf.operation import Inbound, ServiceBase, call_of, operation
from flyinglow.wsrf.xml import E, qname
from rigs.soap import NOW, Seen, Shelf, body_of, endpoint, fault_of, message, start_port

W1 = "<fl:ResourceID>w1</fl:ResourceID>"
START = message("<flw:Start/>", W1)


def response() -> Any:
    return E["flw"].StartResponse()


def test_an_operation_knows_its_call(shelf: Shelf) -> None:
    calls = []

    def act(call: Any) -> Any:
        calls.append(call)
        return response()

    point = endpoint(shelf, start_port(act))
    point.call(START, caller=Identity("alice"), peer="192.0.2.1:7")
    (call,) = calls
    assert (call.caller.name, call.resource, call.peer, call.received_at) == ("alice", "w1", "192.0.2.1:7", NOW)
    assert call.operation == "Start"


def test_an_operation_may_answer_later(shelf: Shelf, seen: Seen) -> None:
    later: Deferred[Any] = Deferred()
    point = endpoint(shelf, start_port(lambda call: later), on_message=seen)
    pending = point.handle(Inbound(body=START, soap="1.2", caller=LOCAL, peer="p"))
    assert isinstance(pending, Answer)  # the version is wrong: never started
    pending = point.handle(Inbound(body=START, soap="1.1", caller=LOCAL, peer="p"))
    assert isinstance(pending, Pending)
    assert pending.awaitable is later
    assert body_of(pending.finish(response())).tag == qname("flw", "StartResponse")


def test_what_fails_later_is_a_fault_as_well(shelf: Shelf, seen: Seen) -> None:
    async def act() -> Any:
        raise AssertionError("never awaited here")

    def pend() -> Pending:
        pending = point.handle(Inbound(body=START, soap="1.1", caller=LOCAL, peer="p"))
        assert isinstance(pending, Pending)
        pending.awaitable.close()  # type: ignore[attr-defined] # a coroutine that is never run warns
        return pending

    point = endpoint(shelf, start_port(lambda call: act()), on_message=seen)
    assert fault_of(pend().finish(ConflictError("it runs"))).kind == qname("fl", "ConflictFault")
    answer = pend().finish(RuntimeError("secret"))
    assert b"secret" not in answer.body
    assert fault_of(answer).kind == qname("fl", "BrokenFault")


def test_the_short_way_to_call_does_not_wait(shelf: Shelf) -> None:
    point = endpoint(shelf, start_port(lambda call: Deferred()))
    with pytest.raises(TypeError):
        point.call(START)


def test_a_one_way_operation_is_answered_by_nothing(shelf: Shelf) -> None:
    taken = []

    class Consumer(ServiceBase):  # type: ignore[misc] # Spyne is untyped
        @operation(qname("wsnt", "Notify"), action="http://docs.oasis-open.org/wsn/bw-2/X/Notify", one_way=True)
        def notify(ctx: Any, body: Any) -> None:
            taken.append(call_of(ctx).operation)

    point = Endpoint("consumer", [Consumer], "consumer", now=lambda: NOW, resources=False)
    note = "<wsnt:NotificationMessage><wsnt:Message><x/></wsnt:Message></wsnt:NotificationMessage>"
    body = f"<wsnt:Notify>{note}</wsnt:Notify>"
    header = "<wsa:Action>http://docs.oasis-open.org/wsn/bw-2/X/Notify</wsa:Action>"
    assert point.call(message(body, header)) == Answer(202, "", b"")
    assert taken == ["Notify"]


def test_a_message_may_be_known_under_further_actions(shelf: Shelf) -> None:
    class Manager(ServiceBase):  # type: ignore[misc] # Spyne is untyped
        @operation(qname("wsnt", "Unsubscribe"), action="urn:a/Unsubscribe", also=["urn:b/Unsubscribe"])
        def unsubscribe(ctx: Any, body: Any) -> Any:
            return E["wsnt"].UnsubscribeResponse()

    point = Endpoint("subscription", [Manager], "subscription", now=lambda: NOW)
    for stem in ("urn:a", "urn:b"):
        header = f"{W1}<wsa:Action>{stem}/UnsubscribeRequest</wsa:Action>"
        assert point.call(message("<wsnt:Unsubscribe/>", header)).status == 200
    wrong = f"{W1}<wsa:Action>urn:c/UnsubscribeRequest</wsa:Action>"
    assert fault_of(point.call(message("<wsnt:Unsubscribe/>", wrong))).codes == (qname("wsa", "ActionNotSupported"),)
    assert point.routes() == {(qname("wsnt", "Unsubscribe"), "urn:a/UnsubscribeRequest")}


def test_qnames_in_text_survive_the_way_out(shelf: Shelf) -> None:
    def act(call: Any) -> Any:
        found = response()
        found.append(E["wsnt"].TopicExpression("fl:state"))
        found[0].append(E["fl"].State("x"))
        return found

    point = endpoint(shelf, start_port(act))
    topic = body_of(point.call(START))[0]
    assert topic.text == "fl:state"


def test_two_operations_for_one_message_are_a_mistake(shelf: Shelf) -> None:
    class Other(ServiceBase):  # type: ignore[misc] # Spyne is untyped
        @operation(qname("flw", "Start"), action="urn:other/Start")
        def start_again(ctx: Any, body: Any) -> Any:
            return response()

    with pytest.raises(ValueError, match="Start"):
        endpoint(shelf, start_port(lambda call: response()), Other)

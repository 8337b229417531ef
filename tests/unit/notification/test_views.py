"""The standards' own messages for the same events, and the topics by which they are chosen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from flyinglow.notification.payload import ELEMENTS, action, payload
from flyinglow.notification.topics import TOPICS, expression, select
from flyinglow.notification.views import form_of
from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic
from flyinglow.workspace.producer_xml import CONCRETE, FULL, VIEWS, clark, producer, topic_names
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname, qname_value

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ADDRESSES = Addresses("http://site.example:8080")
GROUP = ResourceKey(Kind.GROUP, "a" * 32)
MEMBER = {"member": "b" * 32, "member_name": "wn-1"}
BODIES: dict[Topic, dict[str, Any]] = {
    Topic.STATE: {"state": "Running", "previous": "Propagated"},
    Topic.SCHEDULE: {"ends_at": "2026-01-02T05:04:05+00:00", "reason": "moved"},
    Topic.NETWORKING: {"nics": [{"network": "public", "ip": "10.0.0.5"}]},
    Topic.TERMINATION: {"reason": "destroyed", "at": "2026-01-02T05:04:05+00:00", "state": "Ended"},
    Topic.MEMBERSHIP: {**MEMBER, "change": "added"},
}
SCHEMAS = Path(__file__).parents[3] / "schemas"


def event(topic: Topic, **body: Any) -> Event:
    content = {"name": "wn", **BODIES.get(topic, {}), **body}
    return Event(key=GROUP, sequence=1, topic=topic, owner="ann", at=AT, body=content, id=1)


def text(element: etree._Element, *steps: str) -> str | None:
    return element.findtext("/".join(clark(step) for step in steps))


@pytest.mark.parametrize("form", VIEWS)
def test_every_view_fits_the_schemas(form: str) -> None:
    told = payload(event(VIEWS[form]), form, ADDRESSES)
    Contract.packaged().validate(etree.fromstring(etree.tostring(told)))


def test_a_change_of_state_is_a_change_of_a_value() -> None:
    told = payload(event(Topic.STATE), "fl:state-value")
    assert told.tag == qname("rp", "ResourcePropertyValueChangeNotification")
    assert text(told, "rp:OldValues", "fl:State") == "Propagated"
    assert text(told, "rp:NewValues", "fl:State") == "Running"
    first = payload(event(Topic.STATE, previous=None), "fl:state-value")
    assert [child.tag for child in first] == [qname("rp", "NewValues")]


def test_a_moved_end_is_a_change_of_a_value() -> None:
    told = payload(event(Topic.SCHEDULE), "fl:end-value")
    assert text(told, "rp:NewValues", "rl:TerminationTime") == "2026-01-02T05:04:05Z"
    (none,) = payload(event(Topic.SCHEDULE, ends_at=None), "fl:end-value").iter(qname("rl", "TerminationTime"))
    assert none.get(f"{{{NS['xsi']}}}nil") == "true"


def test_the_end_of_a_resource_is_told_as_the_standard_does() -> None:
    told = payload(event(Topic.TERMINATION), "rl:ResourceTermination")
    assert told.tag == qname("rl", "TerminationNotification")
    assert text(told, "rl:TerminationTime") == "2026-01-02T05:04:05Z"
    assert text(told, "rl:TerminationReason") == "destroyed"


@pytest.mark.parametrize("form", ["membership", "sg:ServiceGroupModification"])
def test_members_that_come_and_go(form: str) -> None:
    came = payload(event(Topic.MEMBERSHIP), form, ADDRESSES)
    assert came.tag == qname("sg", "EntryAdditionNotification")
    entry = came.find(qname("sg", "ServiceGroupEntryEPR"))
    assert entry is not None
    assert text(entry, "wsa:Address") == "http://site.example:8080/entry"
    assert text(entry, "wsa:ReferenceParameters", "fl:ResourceID") == f"group.{GROUP.id}.{MEMBER['member']}"
    assert text(came, "sg:MemberEPR", "wsa:ReferenceParameters", "fl:ResourceID") == MEMBER["member"]
    assert text(came, "sg:InitialContent", "fl:Name") == "wn-1"
    went = payload(event(Topic.MEMBERSHIP, change="removed", reason="destroyed"), form, ADDRESSES)
    assert went.tag == qname("sg", "EntryRemovalNotification")
    assert (text(went, "sg:FinalContent", "fl:Name"), text(went, "sg:Reason")) == ("wn-1", "destroyed")


@pytest.mark.parametrize(
    ("chosen", "form"),
    [
        ((), "state"),
        (("state",), "state"),
        (("fl:state-value",), "fl:state-value"),
        (("fl:state-value", "state"), "state"),
        (("warning",), None),
        (("fl:end-value", "rl:ResourceTermination"), None),
    ],
)
def test_an_event_is_told_once_in_its_own_form_if_that_was_chosen(chosen: tuple[str, ...], form: str | None) -> None:
    assert form_of(chosen, event(Topic.STATE)) == form


def test_a_value_that_is_as_it_was_is_not_told() -> None:
    same = event(Topic.STATE, previous="Running", task="Pausing")
    assert form_of(("fl:state-value",), same) is None
    assert form_of(("state",), same) == "state"


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, word in TOPICS.items()])
def test_every_topic_can_be_chosen_and_is_named_in_what_is_sent(name: str, word: str) -> None:
    made = expression(word, qname("wsnt", "Topic"))
    assert (made.get("Dialect"), qname_value(made)) == (CONCRETE, name)
    assert select(made) == (word,)


def test_names_of_the_standards_can_be_chosen_with_wildcards() -> None:
    made = etree.Element("T", Dialect=FULL, nsmap={"any": NS["rl"]})
    made.text = "any:*"
    assert select(made) == ("rl:ResourceTermination",)


def test_a_raw_message_has_the_action_of_what_it_is() -> None:
    told = action("rl:ResourceTermination", event(Topic.TERMINATION))
    assert told == f"{NS['rl']}/TerminationNotification"
    assert action("termination", event(Topic.TERMINATION)) == f"{NS['fl']}/Notification/TerminationNotice"
    assert action("membership", event(Topic.MEMBERSHIP)) == f"{NS['sg']}/EntryAdditionNotification"


@pytest.fixture(scope="module")
def document() -> etree._Element:
    return etree.parse(SCHEMAS / "topics.xml").getroot()


def test_the_document_of_the_topics_fits_the_schemas(document: etree._Element) -> None:
    Contract.packaged().validate(document)
    assert document.get("final") == "true"


def test_the_document_has_the_topics_of_our_name_space_and_what_they_carry(document: etree._Element) -> None:
    space = str(document.get("targetNamespace"))
    topics = {f"{{{space}}}{topic.get('name')}": topic for topic in document.iter(qname("wstop", "Topic"))}
    assert {element.get("final") for element in (document, *topics.values())} == {"true"}
    assert list(topics) == [name for name in map(clark, topic_names(whole=True)) if name.startswith(f"{{{space}}}")]
    for name, topic in topics.items():
        word = TOPICS[name]
        source = VIEWS[word] if word in VIEWS else Topic(word)
        made = {str(payload(each, word, ADDRESSES).tag) for each in samples(source)}
        declared = {qname_value(topic, kind) for kind in str(topic.get("messageTypes")).split()}
        assert declared == made


def samples(topic: Topic) -> list[Event]:
    if topic is Topic.WARNING:
        return [event(topic, ends_at="2026-01-02T05:04:05Z", seconds=300)]
    return [event(topic), event(topic, change="removed")] if topic is Topic.MEMBERSHIP else [event(topic)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_producers_topics_and_their_tree_are_the_same(whole: bool) -> None:
    made = producer(whole=whole)
    (tree,) = made[qname("wstop", "TopicSet")]()
    Contract.packaged().validate(etree.fromstring(etree.tostring(tree)))
    expressions = [qname_value(each) for each in made[qname("wsnt", "TopicExpression")]()]
    assert [child.tag for child in tree] == expressions
    assert all(child.get(qname("wstop", "topic")) == "true" for child in tree)
    assert (qname("fl", "membership") in expressions) == whole
    assert {qname("fl", topic) for topic in ELEMENTS} <= set(expressions)

"""The Workspace on the wire."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree

from flyinglow.nodectl.errors import ConflictError
from flyinglow.workspace.model import Topic
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.producer_xml import clark, topic_names
from flyinglow.workspace.states import State, Task
from flyinglow.workspace.terms import Terms
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NIL, NS, qname, qname_value, text_of
from rigs.contract import CE, NOW
from rigs.contract_site import Site

DOCUMENT = f'<GetResourcePropertyDocument xmlns="{NS["rp"]}"/>'


@pytest.fixture
def site() -> Site:
    return Site()


def document(site: Site) -> etree._Element:
    (found,) = site.body("workspace", DOCUMENT, CE.id)
    Contract.packaged().validate(found)
    return found


def test_start_answers_when_it_is_asked_for(site: Site) -> None:
    assert site.body("workspace", f'<Start xmlns="{NS["flw"]}"/>', CE.id).tag == qname("flw", "StartResponse")
    assert site.workspaces.asked == ["start"]


@pytest.mark.parametrize("mode", ShutdownMode)
def test_shutdown_hands_on_its_mode(site: Site, mode: ShutdownMode) -> None:
    body = f'<Shutdown xmlns="{NS["flw"]}"><Mode>{mode}</Mode></Shutdown>'
    assert site.body("workspace", body, CE.id).tag == qname("flw", "ShutdownResponse")
    assert site.workspaces.asked == [mode]


def test_a_place_to_save_to_goes_with_saving_only(site: Site) -> None:
    body = f'<Shutdown xmlns="{NS["flw"]}"><Mode>Normal</Mode><SaveTo>file:///a</SaveTo></Shutdown>'
    assert site.body("workspace", body, CE.id).tag == qname("fl", "InvalidFault")
    assert site.workspaces.asked == []


def test_console_is_bytes_and_where_they_stand(site: Site) -> None:
    answer = site.body("workspace", f'<Console xmlns="{NS["flw"]}"><Offset>90</Offset><Max>4</Max></Console>', CE.id)
    Contract.packaged().validate(answer)
    assert site.workspaces.asked == [(90, 4)]
    assert base64.b64decode(text_of(answer, qname("flw", "Data"))) == b"ce login: "
    assert (text_of(answer, qname("flw", "Offset")), text_of(answer, qname("flw", "Size"))) == ("90", "100")


def test_console_begins_at_the_beginning(site: Site) -> None:
    site.body("workspace", f'<Console xmlns="{NS["flw"]}"/>', CE.id)
    assert site.workspaces.asked == [(0, 65536)]


@pytest.mark.parametrize("operation", ["Start", "Console"])
def test_what_the_service_refuses_is_a_typed_fault(site: Site, operation: str) -> None:
    site.workspaces.error = ConflictError("it is being given back")
    fault = site.body("workspace", f'<{operation} xmlns="{NS["flw"]}"/>', CE.id)
    Contract.packaged().validate(fault)
    assert fault.tag == qname("fl", "ConflictFault")
    assert text_of(fault, qname("bf", "Description")) == "it is being given back"


def test_another_workspace_is_unknown(site: Site) -> None:
    assert site.body("workspace", f'<Start xmlns="{NS["flw"]}"/>', "f" * 32).tag == qname("r", "ResourceUnknownFault")


def test_destroy_and_set_termination_time_reach_the_service(site: Site) -> None:
    later = NOW + timedelta(hours=5)
    site.body(
        "workspace",
        f'<SetTerminationTime xmlns="{NS["rl"]}"><RequestedLifetimeDuration>PT5H</RequestedLifetimeDuration>'
        "</SetTerminationTime>",
        CE.id,
    )
    site.body("workspace", f'<Destroy xmlns="{NS["rl"]}"/>', CE.id)
    assert site.workspaces.asked == [later, "destroy"]


def test_a_queued_workspace_has_no_end_and_no_node_yet(site: Site) -> None:
    site.workspaces.row = replace(
        CE,
        state=State.UNPROPAGATED,
        task=Task.QUEUED,
        reason="waits for memory",
        node=None,
        ends_at=None,
        start_by=NOW + timedelta(minutes=5),
        stamps={},
        seconds={},
        nics=(),
    )
    found = document(site)
    end = found.find(qname("rl", "TerminationTime"))
    assert end is not None
    assert end.get(NIL) == "true"
    assert found.find(qname("fl", "Node")) is None
    assert text_of(found, qname("fl", "Task")) == "Queued"
    assert text_of(found, qname("fl", "Reason")) == "waits for memory"
    assert found.findtext(f"{qname('fl', 'Schedule')}/{qname('fl', 'StartBy')}") == "2026-03-01T12:05:00Z"


def test_the_node_is_shown_only_where_the_site_allows_it(site: Site) -> None:
    assert document(site).findtext(qname("fl", "Node")) == "node1"
    site.workspaces.terms = Terms(show_node=False)
    assert document(site).find(qname("fl", "Node")) is None


@pytest.mark.parametrize("state", State)
def test_every_state_makes_a_valid_document(site: Site, state: State) -> None:
    site.workspaces.row = replace(CE, state=state, reason="because \x00 of it")
    assert text_of(document(site), qname("fl", "State")) == state


def test_topics_keep_the_prefix_that_they_are_written_with(site: Site) -> None:
    topics = document(site).findall(qname("wsnt", "TopicExpression"))
    named = [qname_value(found) for found in topics]
    assert named == [clark(name) for name in topic_names(whole=False)]
    assert named[:5] == [qname("fl", topic) for topic in Topic if topic is not Topic.MEMBERSHIP]


def test_only_what_is_asked_for_is_answered_in_the_order_asked(site: Site) -> None:
    body = (
        f'<GetMultipleResourceProperties xmlns="{NS["rp"]}" xmlns:x="{NS["fl"]}" xmlns:l="{NS["rl"]}">'
        "<ResourceProperty>l:CurrentTime</ResourceProperty><ResourceProperty>x:Task</ResourceProperty>"
        "<ResourceProperty>x:State</ResourceProperty></GetMultipleResourceProperties>"
    )
    answer = site.body("workspace", body, CE.id)
    assert [child.tag for child in answer] == [qname("rl", "CurrentTime"), qname("fl", "State")]

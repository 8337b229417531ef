"""The Group on the wire."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.states import State
from flyinglow.workspace.terms import Terms
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NIL, NS, qname, text_of
from rigs.contract import ADDRESSES, ENDS, GROUP, MEMBERS
from rigs.contract_site import Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (f'<Start xmlns="{NS["flg"]}"/>', "start"),
        (f'<Shutdown xmlns="{NS["flg"]}"><Mode>Pause</Mode></Shutdown>', ShutdownMode.PAUSE),
    ],
)
def test_a_fan_out_has_one_result_for_each_member(site: Site, body: str, asked: str) -> None:
    answer = site.body("group", body, GROUP.id)
    Contract.packaged().validate(answer)
    assert site.groups.asked == [asked]
    done, refused = answer.findall(qname("fl", "Result"))
    assert [text_of(row, qname("fl", "Name")) for row in (done, refused)] == ["wn-1", "wn-2"]
    reference = done.find(qname("wsa", "EndpointReference"))
    assert reference is not None
    assert ADDRESSES.read(reference) == ("workspace", MEMBERS[2].id)
    assert done.find(qname("fl", "Fault")) is None
    fault = refused.find(qname("fl", "Fault"))
    assert fault is not None
    assert text_of(fault, qname("fl", "Kind")) == "conflict"
    assert text_of(fault, qname("fl", "Retryable")) == "false"
    assert fault.findtext(qname("fl", "Figure")) == "2"


def test_report_counts_what_is_destroyed_and_shows_what_is_left(site: Site) -> None:
    first, second = site.groups.whole.members
    gone = replace(first, state=State.ENDED, destroyed_at=ENDS)
    site.groups.whole = replace(site.groups.whole, members=(second,), all_members=(gone, second))
    answer = site.body("group", f'<Report xmlns="{NS["flg"]}"/>', GROUP.id)
    Contract.packaged().validate(answer)
    counts = {found.get("state"): found.text for found in answer.iter(qname("fl", "Count"))}
    assert counts == {"Running": "1", "Ended": "1"}
    assert [text_of(row, qname("fl", "Name")) for row in answer.findall(qname("fl", "Member"))] == ["wn-2"]
    assert answer.find(qname("fl", "Open")) is None


def properties(site: Site) -> dict[str, str]:
    (document,) = site.body("group", f'<GetResourcePropertyDocument xmlns="{NS["rp"]}"/>', GROUP.id)
    Contract.packaged().validate(document)
    end = document.find(qname("rl", "TerminationTime"))
    assert end is not None
    return {
        "state": text_of(document, qname("fl", "State")),
        "end": end.get(NIL) or end.text or "",
        "nodes": " ".join(found.text or "" for found in document.iter(qname("fl", "Node"))),
    }


def test_a_group_ends_with_its_last_member(site: Site) -> None:
    first, second = site.groups.whole.members
    members = (first, replace(second, ends_at=ENDS + timedelta(hours=1)))
    site.groups.whole = replace(site.groups.whole, members=members, all_members=members)
    assert properties(site)["end"] == "2026-03-01T15:00:00Z"


def test_a_group_that_waits_has_no_end_yet(site: Site) -> None:
    members = tuple(replace(row, ends_at=None, state=State.UNPROPAGATED) for row in site.groups.whole.members)
    site.groups.whole = replace(site.groups.whole, members=members, all_members=members)
    assert properties(site)["end"] == "true"
    assert properties(site)["state"] == "Unpropagated"


def test_nodes_are_shown_only_where_the_site_allows_it(site: Site) -> None:
    assert properties(site)["nodes"] == "node1 node1"
    site.groups.terms = Terms(show_node=False)
    assert properties(site)["nodes"] == ""


def test_destroy_reaches_the_service(site: Site) -> None:
    site.body("group", f'<Destroy xmlns="{NS["rl"]}"/>', GROUP.id)
    assert site.groups.asked == ["destroy"]


def test_another_group_is_unknown(site: Site) -> None:
    fault = site.body("group", f'<Report xmlns="{NS["flg"]}"/>', "f" * 32)
    assert fault.tag == qname("r", "ResourceUnknownFault")

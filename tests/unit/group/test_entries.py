"""Groups and ensembles as service groups (WS-ServiceGroup 1.2): the rule, the entries, and entries as resources."""

import pytest
from lxml.etree import _Element

from flyinglow.workspace.model import EndAction
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, E, qname, qname_value, text_of
from rigs.contract import ADDRESSES, ENSEMBLE, GROUP, MEMBERS
from rigs.contract_site import Site

WHOLES = {"group": (GROUP, MEMBERS[2:]), "ensemble": (ENSEMBLE, MEMBERS)}


@pytest.fixture
def site() -> Site:
    return Site()


def get(site: Site, service: str, name: str, resource: str) -> list[_Element]:
    prefix, _, _ = name.partition(":")
    body = f'<GetResourceProperty xmlns="{NS["rp"]}" xmlns:{prefix}="{NS[prefix]}">{name}</GetResourceProperty>'
    answer = site.body(service, body, resource)
    assert answer.tag == qname("rp", "GetResourcePropertyResponse"), answer
    return list(answer)


def address(reference: _Element) -> str:
    kind, found = ADDRESSES.read(reference) if "entry" not in (reference[0].text or "") else ("entry", "")
    return f"{kind}/{found}" if found else text_of(reference[1], qname("fl", "ResourceID"))


@pytest.mark.parametrize("kind", WHOLES)
def test_a_whole_has_an_entry_for_each_member(site: Site, kind: str) -> None:
    key, members = WHOLES[kind]
    entries = get(site, kind, "sg:Entry", key.id)
    assert [entry.tag for entry in entries] == [qname("sg", "Entry")] * len(members)
    for entry, member in zip(entries, members, strict=True):
        Contract.packaged().validate(entry)
        own, service, content = entry
        assert own.tag == qname("sg", "ServiceGroupEntryEPR")
        assert address(own) == f"{kind}.{key.id}.{member.id}"
        assert (service.tag, address(service)) == (qname("sg", "MemberServiceEPR"), f"workspace/{member.id}")
        assert text_of(content, qname("fl", "Name")) == member.name


@pytest.mark.parametrize("kind", WHOLES)
def test_the_rule_says_what_a_member_is_and_what_an_entry_holds(site: Site, kind: str) -> None:
    (rule,) = get(site, kind, "sg:MembershipContentRule", WHOLES[kind][0].id)
    Contract.packaged().validate(rule)
    assert qname_value(rule, rule.get("ContentElements")) == qname("fl", "Name")
    member = qname_value(rule, rule.get("MemberInterfaces"))
    assert member == "{urn:flyinglow:workspace:1:wsdl}WorkspacePortType"
    assert b'portType name="WorkspacePortType"' in Contract.packaged().wsdl("workspace", "http://h/workspace")


@pytest.mark.parametrize("kind", WHOLES)
def test_an_entry_is_a_resource_with_properties(site: Site, kind: str) -> None:
    key, members = WHOLES[kind]
    resource = f"{kind}.{key.id}.{members[0].id}"
    (group,) = get(site, "entry", "sg:ServiceGroupEPR", resource)
    (member,) = get(site, "entry", "sg:MemberEPR", resource)
    assert (address(group), address(member)) == (f"{kind}/{key.id}", f"workspace/{members[0].id}")
    (end,) = get(site, "entry", "rl:TerminationTime", resource)
    assert end.text is None
    document = site.body("entry", E["rp"].GetResourcePropertyDocument(), resource)[0]
    assert document.tag == qname("fl", "EntryProperties")
    Contract.packaged().validate(document)


def test_a_membership_cannot_be_ended_by_itself(site: Site) -> None:
    fault = site.body("entry", E["rl"].Destroy(), f"group.{GROUP.id}.{MEMBERS[2].id}")
    Contract.packaged().validate(fault)
    assert fault.tag == qname("rl", "ResourceNotDestroyedFault")
    assert "destroy the workspace itself" in text_of(fault, qname("bf", "Description"))
    assert site.groups.asked == []


@pytest.mark.parametrize(
    "resource",
    [
        f"group.{GROUP.id}.{MEMBERS[0].id}",  # of the ensemble only
        f"group.{ENSEMBLE.id}.{MEMBERS[2].id}",
        f"workspace.{MEMBERS[0].id}.{MEMBERS[0].id}",
        f"group.{GROUP.id}",
        "group..",
        ".",
        "x",
    ],
)
@pytest.mark.parametrize("body", [E["rl"].Destroy(), E["rp"].GetResourcePropertyDocument()])
def test_an_entry_that_is_none_is_unknown(site: Site, resource: str, body: _Element) -> None:
    assert site.body("entry", body, resource).tag == qname("r", "ResourceUnknownFault")


def test_an_entry_has_no_end_to_set_and_nothing_to_change(site: Site) -> None:
    published = {name for name, _ in site.endpoints["entry"].routes()}
    assert qname("rl", "SetTerminationTime") not in published
    assert qname("rp", "SetResourceProperties") not in published


@pytest.mark.parametrize("kind", WHOLES)
def test_what_a_whole_is_to_become_reaches_the_service(site: Site, kind: str) -> None:
    request = (
        f'<SetResourceProperties xmlns="{NS["rp"]}" xmlns:fl="{NS["fl"]}"><Update><fl:Name>night</fl:Name>'
        "<fl:EndAction>Save</fl:EndAction><fl:SaveTo>https://store.example/{name}</fl:SaveTo></Update>"
        "</SetResourceProperties>"
    )
    answer = site.body(kind, request, WHOLES[kind][0].id)
    assert answer.tag == qname("rp", "SetResourcePropertiesResponse")
    ((_, change),) = site.changes.asked
    assert (change.name, change.end_action) == ("night", EndAction.SAVE)
    assert change.save_to == "https://store.example/{name}"


@pytest.mark.parametrize(("kind", "name"), [("workspace", "State"), ("group", "Members"), ("ensemble", "Open")])
def test_all_else_is_read_only(site: Site, kind: str, name: str) -> None:
    request = f'<SetResourceProperties xmlns="{NS["rp"]}" xmlns:fl="{NS["fl"]}"><Delete ResourceProperty="fl:{name}"/>'
    resource = {"workspace": MEMBERS[0].id, "group": GROUP.id, "ensemble": ENSEMBLE.id}[kind]
    fault = site.body(kind, request + "</SetResourceProperties>", resource)
    assert fault.tag == qname("rp", "UnableToModifyResourcePropertyFault")
    assert site.changes.asked == []

"""Every property has a sample: in a sample message, or among those of the reference that are not always there."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.workspace.model import EndAction
from flyinglow.workspace.states import State, Task
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname
from rigs.contract import CE, GROUP, MEMBERS, NOW, SAMPLES, SUBSCRIPTION, Wholes, whole_of
from rigs.contract_site import Site, untyped

ROOT = SAMPLES.parents[1]
REFERENCE = ROOT / "docs" / "reference" / "soap.md"
XS = "{http://www.w3.org/2001/XMLSchema}"
BLOCK = re.compile(r"^```xml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPES = etree.parse(ROOT / "schemas" / "types.xsd").getroot()
KINDS = [name for each in TYPES.findall(f"{XS}element") if (name := each.get("name", "")).endswith("Properties")]
SAVING: dict[str, Any] = {
    "state": State.PROPAGATED,
    "task": Task.SAVING,
    "target": State.TRANSPORT_READY,
    "reason": "its lease ends, and its disk is saved",
    "end_action": EndAction.SAVE,
    "end_uri": "https://store.example/ce.qcow2",
    "saved": {
        "disk": "root",
        "target": "https://store.example/ce-monday.qcow2",
        "format": "qcow2",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 1073741824,
        "at": (NOW - timedelta(days=1)).isoformat(),
    },
}
FILTER = (
    f'<wsnt:Filter xmlns:wsnt="{NS["wsnt"]}" xmlns:fl="{NS["fl"]}"><wsnt:TopicExpression '
    f'Dialect="{NS["wstop"]}/TopicExpression/Simple">fl:state</wsnt:TopicExpression></wsnt:Filter>'
)


def saving() -> Site:
    """Return a site all of whose machines are being saved."""
    site = Site()
    site.workspaces.row = replace(CE, **SAVING)
    site.groups.__dict__.update(vars(Wholes(whole_of(GROUP, tuple(replace(row, **SAVING) for row in MEMBERS[2:])))))
    return site


def subscribed() -> Site:
    """Return a site whose subscription has a filter, and gets its messages raw."""
    site = Site()
    look = site.subscriptions.look
    untyped(site.subscriptions).look = lambda caller, resource: (
        replace(look(caller, resource)[0], filter_xml=FILTER, raw=True),
        0,
    )
    return site


ASKED = {
    "workspace": (saving, CE.id, ("fl:Task", "fl:Reason", "fl:SaveTo", "fl:Saved")),
    "group": (saving, GROUP.id, ("fl:Task", "fl:Reason", "fl:SaveTo")),
    "subscription": (subscribed, SUBSCRIPTION, ("wsnt:Filter", "wsnt:SubscriptionPolicy")),
}
"""What is not in the sample messages: of which site and resource it is shown, by which names."""
LIKE = {"ensemble": "group"}


def answer(service: str) -> _Element:
    """Return what a service says of the properties that are not always there."""
    made, resource, names = ASKED[service]
    wanted = "".join(f"<ResourceProperty>{name}</ResourceProperty>" for name in names)
    spaces = f'xmlns="{NS["rp"]}" xmlns:fl="{NS["fl"]}" xmlns:wsnt="{NS["wsnt"]}"'
    asked = f"<GetMultipleResourceProperties {spaces}>{wanted}</GetMultipleResourceProperties>"
    return made().body(service, asked, resource)


def shown(service: str) -> _Element:
    """Return what the reference says of them."""
    section = REFERENCE.read_text(encoding="utf-8").partition("\n### Not always there\n")[2].partition("\n## ")[0]
    text = section.partition(f"\n#### {service.capitalize()}\n")[2].partition("\n#### ")[0]
    (block,) = BLOCK.findall(text)
    return etree.fromstring(block, etree.XMLParser(remove_blank_text=True))


def plain(element: _Element) -> tuple[object, ...]:
    return (element.tag, sorted(element.items()), (element.text or "").strip(), [plain(child) for child in element])


@pytest.mark.parametrize("service", ASKED)
def test_what_is_not_always_there_is_shown_as_the_service_says_it(service: str) -> None:
    said = shown(service)
    Contract.packaged().validate(said)
    assert plain(said) == plain(answer(service))


@pytest.mark.parametrize("kind", KINDS)
def test_every_property_has_a_sample(kind: str) -> None:
    samples = (etree.parse(path).getroot() for path in SAMPLES.glob("*.xml"))
    found = {child.tag for sample in samples for document in sample.iter(qname("fl", kind)) for child in document}
    service = kind.removesuffix("Properties").lower()
    if (service := LIKE.get(service, service)) in ASKED:
        found |= {child.tag for child in shown(service)}
    (declared,) = (each for each in TYPES.findall(f"{XS}element") if each.get("name") == kind)
    refs = [each for each in declared.iter(f"{XS}element") if each.get("ref")]
    assert len(refs) > 3
    for each in refs:
        prefix, _, local = each.get("ref", "").partition(":")
        assert f"{{{each.nsmap[prefix]}}}{local}" in found, each.get("ref")

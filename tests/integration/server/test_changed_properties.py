"""The messages of WS-ResourceProperties that change properties, on a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.access.identity import Identity
from flyinglow.wsrf.xml import NS, qname
from rigs.composed import Composed
from rigs.store import OpenStore, open_store  # noqa: F401

ALICE = Identity("alice", via="x509")
CREATE = """<Create xmlns="urn:flyinglow:factory:1"><Name>pair</Name>
<Part><Name>b</Name><Count>2</Count><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Lease><Duration>PT1H</Duration></Lease></Create>"""
READ = f'<GetResourcePropertyDocument xmlns="{NS["rp"]}"/>'
NAME = qname("fl", "Name")


@pytest.fixture
def site(tmp_path: Path, open_store: OpenStore) -> Iterator[Composed]:  # noqa: F811
    made = Composed(tmp_path, open_store())
    try:
        yield made
    finally:
        made.close()


def lease(site: Composed) -> dict[str, str]:
    """Lease a group of two; return an id by service."""
    made = site.ask("factory", CREATE, ALICE)
    found: dict[str, str] = {}
    for reference in made.iter(qname("wsa", "EndpointReference")):
        service = str(reference.findtext(qname("wsa", "Address"))).rpartition("/")[2]
        found.setdefault(service, str(next(reference.iter(qname("fl", "ResourceID"))).text))
    return found


def document(site: Composed, service: str, resource: str) -> _Element:
    answer = site.ask(service, READ, ALICE, resource)
    return etree.fromstring(etree.tostring(answer[0]))


@pytest.mark.parametrize("service", ["workspace", "group"])
def test_a_document_is_put_as_it_was_read_but_for_its_name(site: Composed, service: str) -> None:
    resource = lease(site)[service]
    read = document(site, service, resource)
    (name,) = read.findall(NAME)
    name.text = "front"
    state = read.find(qname("fl", "State"))
    assert state is not None
    state.text = "Corrupted"
    put = f'<PutResourcePropertyDocument xmlns="{NS["rp"]}">{etree.tostring(read, encoding="unicode")}'
    answer = site.ask(service, put + "</PutResourcePropertyDocument>", ALICE, resource)
    (made,) = answer
    assert made.findtext(NAME) == "front"
    assert made.findtext(qname("fl", "State")) != "Corrupted"
    assert document(site, service, resource).findtext(NAME) == "front"


def test_one_component_is_carried_out_or_told_why_not(site: Composed) -> None:
    resource = lease(site)["workspace"]

    def change(word: str, component: str) -> str:
        body = (
            f'<{word}ResourceProperties xmlns="{NS["rp"]}" xmlns:fl="{NS["fl"]}">{component}</{word}ResourceProperties>'
        )
        return etree.QName(site.ask("workspace", body, ALICE, resource)).localname

    assert change("Update", "<Update><fl:Name>front</fl:Name></Update>") == "UpdateResourcePropertiesResponse"
    assert document(site, "workspace", resource).findtext(NAME) == "front"
    assert change("Insert", "<Insert><fl:SaveTo>file:///x</fl:SaveTo></Insert>") == "InvalidModificationFault"
    assert change("Delete", '<Delete ResourceProperty="fl:SaveTo"/>') == "DeleteResourcePropertiesResponse"
    assert change("Delete", '<Delete ResourceProperty="fl:Owner"/>') == "UnableToModifyResourcePropertyFault"
    assert document(site, "workspace", resource).findtext(NAME) == "front"

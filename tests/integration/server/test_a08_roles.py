"""A08: each operation on what is leased, as sent by each role: let in or told no, by a table written for this test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from flyinglow.access.identity import Identity
from flyinglow.wsrf.contract import Contract
from rigs.composed import Composed, WaitsError, operations, sample
from rigs.store import OpenStore, open_store  # noqa: F401

LEASED = ("workspace", "group", "ensemble")
READING = {"Report", "QueryResourceProperties", "GetCurrentMessage", "Subscribe"}
READING |= {"GetResourceProperty", "GetMultipleResourceProperties", "GetResourcePropertyDocument"}
ENDING = {"Destroy"}
SHARING = {"Delegate", "Revoke"}
USING = {"Add", "Console", "Done", "Start", "Shutdown", "SetTerminationTime", "SetResourceProperties"}
USING |= {"InsertResourceProperties", "UpdateResourceProperties", "DeleteResourceProperties"}
USING |= {"PutResourcePropertyDocument"}
EVERYTHING = READING | ENDING | SHARING | USING

ALICE = Identity("alice", via="x509")
BOB = Identity("CN=Bob,O=Grid", via="x509")
MEMBER = Identity("CN=Mia,O=Grid", groups=frozenset({"atlas"}), via="x509")
ADMINISTRATOR = Identity("CN=Root,O=Grid", admin=True, via="x509")
OBSERVER = Identity("CN=Watcher,O=Grid", observer=True, via="x509")
SHARE = (
    '<fl:Delegate xmlns:fl="urn:flyinglow:types:1"><fl:{kind}>{name}</fl:{kind}>'
    "<fl:Level>{level}</fl:Level></fl:Delegate>"
)
CREATE = """<Create xmlns="urn:flyinglow:factory:1"><Name>pair</Name>
<Part><Name>a</Name><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Part><Name>b</Name><Count>2</Count><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Lease><Duration>PT1H</Duration></Lease></Create>"""

ROLES: dict[str, tuple[Identity, tuple[str, str, str] | None, set[str]]] = {
    "owner": (ALICE, None, EVERYTHING),
    "owner by a limited proxy": (replace(ALICE, limited=True), None, READING | ENDING),
    "reader": (BOB, ("Identity", BOB.name, "read"), READING),
    "reader by a group": (MEMBER, ("Group", "atlas", "read"), READING),
    "holder": (BOB, ("Identity", BOB.name, "full"), EVERYTHING - SHARING),
    "holder by a group": (MEMBER, ("Group", "atlas", "full"), EVERYTHING - SHARING),
    "holder by a limited proxy": (replace(BOB, limited=True), ("Identity", BOB.name, "full"), READING | ENDING),
    "holder who observes": (replace(BOB, observer=True), ("Identity", BOB.name, "full"), READING),
    "observer": (OBSERVER, None, READING),
    "administrator": (ADMINISTRATOR, None, EVERYTHING),
    "administrator by a limited proxy": (replace(ADMINISTRATOR, admin=True, limited=True), None, READING | ENDING),
}


@pytest.fixture
def site(tmp_path: Path, open_store: OpenStore) -> Iterator[Composed]:  # noqa: F811
    made = Composed(tmp_path, open_store())
    yield made
    made.close()


def lease(site: Composed, share: tuple[str, str, str] | None) -> dict[str, list[str]]:
    """Have alice lease one of each, and share the whole."""
    made = site.ask("factory", CREATE, ALICE)
    found: dict[str, list[str]] = {}
    for reference in made.iter("{http://www.w3.org/2005/08/addressing}EndpointReference"):
        service = str(reference.findtext("{http://www.w3.org/2005/08/addressing}Address")).rpartition("/")[2]
        found.setdefault(service, []).append(str(next(reference.iter("{urn:flyinglow:types:1}ResourceID")).text))
    if share is not None:
        kind, name, level = share
        answer = site.ask("ensemble", SHARE.format(kind=kind, name=name, level=level), ALICE, found["ensemble"][0])
        assert etree.QName(answer).localname == "DelegateResponse"
    return found


def test_the_table_has_every_operation() -> None:
    known = {operation for service, operation in operations() if service in LEASED}
    assert known == EVERYTHING
    declared = {
        etree.QName(each).localname for service in LEASED for each, _ in Contract.packaged().operations(service)
    }
    assert declared == EVERYTHING


@pytest.mark.parametrize("role", ROLES)
def test_a08_a_role_may_do_what_the_table_says_and_nothing_else(site: Composed, role: str) -> None:
    caller, share, allowed = ROLES[role]
    for service in LEASED:
        ids = lease(site, share)[service]
        for operation in sorted((op for at, op in operations() if at == service), key=lambda op: (op in ENDING, op)):
            try:
                _, answer = site.send(service, sample(service, operation, ids), caller)
            except WaitsError:
                said = ""  # it was let in, and asks a node
            else:
                said = etree.tostring(answer, encoding="unicode")
            assert "ResourceUnknownFault" not in said
            assert ("Fault" in said and " may not " in said) == (operation not in allowed), (service, operation, said)

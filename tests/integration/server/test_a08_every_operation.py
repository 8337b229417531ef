"""A08: what is another's looks as if it were not there, for every operation; and every call that counts is audited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import event

from flyinglow.access.identity import Identity
from flyinglow.server.audit import PROBES, READS
from flyinglow.wsrf.contract import Contract
from rigs.composed import Composed, WaitsError, operations, sample
from rigs.store import OpenStore, open_store  # noqa: F401

ALICE, EVE = Identity("alice", via="x509"), Identity("eve", via="x509")
WATCHER = Identity("watcher", observer=True, via="x509")
NOWHERE = ["0" * 32, "1" * 32]
CREATE = """<Create xmlns="urn:flyinglow:factory:1"><Name>pair</Name>
<Part><Name>a</Name><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Part><Name>b</Name><Count>2</Count><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Lease><Duration>PT1H</Duration></Lease></Create>"""
SUBSCRIBE = """<Subscribe xmlns="http://docs.oasis-open.org/wsn/b-2"><ConsumerReference>
<Address xmlns="http://www.w3.org/2005/08/addressing">http://198.51.100.9:9000/</Address></ConsumerReference></Subscribe>"""
PULL_POINT = '<CreatePullPoint xmlns="http://docs.oasis-open.org/wsn/b-2"/>'
RESOURCES = ("workspace", "group", "ensemble", "entry", "subscription", "pullpoint")
LEASED = ("workspace", "group", "ensemble")
ON_RESOURCES = [pair for pair in operations() if pair[0] in RESOURCES]
MUTATING = [
    (service, etree.QName(element).localname)
    for service in RESOURCES
    for element, _ in Contract.packaged().operations(service)
    if element not in READS
]


class Statements(list[str]):
    """What was asked of the database, which can be told to fail."""

    broken = False

    def note(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Note a statement, or fail (SQLAlchemy's hook)."""
        if self.broken:
            raise ZeroDivisionError("canary-7Q")
        self.append(statement)


@dataclass
class Leased:
    """A site on which alice has one of everything; ``ids`` by service, as they replace those of the samples."""

    site: Composed
    ids: dict[str, list[str]]
    statements: Statements

    def try_it(self, service: str, operation: str, caller: Identity, ids: list[str]) -> tuple[str, int]:
        """Send a sample; return the answer without what differs from call to call, and how many queries it took."""
        self.statements.clear()
        status, envelope = self.site.send(service, sample(service, operation, ids), caller)
        text = etree.tostring(envelope, encoding="unicode")
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|urn:uuid:[0-9a-f-]+|>[0-9a-f]{12}<", "", text)
        return f"{status} {text}", len(self.statements)


@pytest.fixture
def leased(tmp_path: Path, open_store: OpenStore) -> Iterator[Leased]:  # noqa: F811
    store = open_store()
    site = Composed(tmp_path, store)
    statements = Statements()
    for engine in (store._database.reading, store._database.writing):
        event.listen(engine, "before_cursor_execute", statements.note)
    try:
        yield Leased(site, _lease(site), statements)
    finally:
        site.close()


def _lease(site: Composed) -> dict[str, list[str]]:
    made = site.ask("factory", CREATE, ALICE)
    assert etree.QName(made).localname == "CreateResponse", etree.tostring(made)
    found: dict[str, list[str]] = {}
    for address in made.iter("{http://www.w3.org/2005/08/addressing}Address"):
        parent = address.getparent()
        assert parent is not None
        reference = next(parent.iter("{urn:flyinglow:types:1}ResourceID"))
        found.setdefault(str(address.text).rpartition("/")[2], []).append(str(reference.text))
    found["entry"] = [found["group"][0], found["workspace"][-1]]
    found["subscription"] = [_id(site.ask("workspace", SUBSCRIBE, ALICE, found["workspace"][0]))]
    found["pullpoint"] = [_id(site.ask("pullpoints", PULL_POINT, ALICE))]
    return found


def _id(answer: Any) -> str:
    text = etree.tostring(answer, encoding="unicode")
    found = re.search(r"\b[0-9a-f]{32}\b", text)
    assert found, text
    return found[0]


def test_a08_another_s_resource_answers_as_one_that_is_not_there(leased: Leased) -> None:
    for service, operation in ON_RESOURCES:
        theirs, queries = leased.try_it(service, operation, EVE, leased.ids[service])
        nothing, as_many = leased.try_it(service, operation, EVE, NOWHERE)
        for there, here in zip(NOWHERE, leased.ids[service], strict=False):
            nothing = nothing.replace(there, here)
        assert theirs == nothing
        assert "ResourceUnknownFault" in theirs, (service, operation, theirs)
        assert queries == as_many, (service, operation)
        assert [(line["who"], line["operation"], line["outcome"]) for line in leased.site.lines[-2:]] == [
            ("eve", operation, "ResourceUnknownFault")
        ] * 2


def test_a_workspace_is_added_and_its_entry_is_there(leased: Leased) -> None:
    alone = re.sub(r"<Part><Name>b.*?</Part>", "", CREATE).replace("<Name>a</Name>", "<Name>extra</Name>")
    member = _id(leased.site.ask("factory", alone.replace("<Name>pair</Name>", "<Name>extra</Name>"), ALICE))
    whole = leased.ids["ensemble"][0]
    _, answer = leased.site.send("ensemble", sample("ensemble", "Add", [whole, member]), ALICE)
    (reference,) = answer.iter("{http://docs.oasis-open.org/wsrf/sg-2}AddResponse")
    entry = str(next(reference.iter("{urn:flyinglow:types:1}ResourceID")).text)
    assert entry == f"ensemble.{whole}.{member}"
    assert leased.site.lines[-1]["operation"] == "Add"
    document = '<GetResourcePropertyDocument xmlns="http://docs.oasis-open.org/wsrf/rp-2"/>'
    told = etree.tostring(leased.site.ask("entry", document, ALICE, entry), encoding="unicode")
    assert member in told
    assert ">extra<" in told


def test_an_observer_sees_everything_and_changes_nothing(leased: Leased) -> None:
    before = leased.site.store.view(lambda tx: tx.outbox.unsent(10_000))
    for service, operation in ON_RESOURCES:
        answer, _ = leased.try_it(service, operation, WATCHER, leased.ids[service])
        if service not in LEASED:
            assert (service, operation) not in MUTATING or "Fault" in answer or operation == "GetMessages"
        elif ((service, operation) in MUTATING and operation != "Subscribe") or operation == "Console":
            assert "is an observer, who" in answer or "belongs to another" in answer, (service, operation, answer)
        else:
            assert not {"DeniedFault", "ResourceUnknownFault"} & set(re.findall(r"\w+Fault", answer)), answer
    assert leased.site.store.view(lambda tx: tx.outbox.unsent(10_000)) == before


def test_every_call_that_changes_something_leaves_exactly_one_line(leased: Leased) -> None:
    ends = ("Destroy", "DestroyPullPoint", "Unsubscribe", "Shutdown")
    for service, operation in sorted(operations(), key=lambda pair: (pair[1] in ends, pair[0] != "workspace", pair)):
        elements = {etree.QName(element).localname: element for element, _ in Contract.packaged().operations(service)}
        before = len(leased.site.lines)
        try:
            leased.try_it(service, operation, ALICE, leased.ids.get(service, []))
        except WaitsError:
            continue
        made = leased.site.lines[before:]
        probed = (elements[operation] in READS and not made) or (made and made[0]["outcome"] in PROBES)
        assert probed or len(made) == 1, (service, operation, made)
        assert len(made) == (elements[operation] not in READS) or probed
        for line in made:
            assert (line["who"], line["operation"], line["endpoint"]) == ("alice", operation, service)
            assert line["from"] == "192.0.2.1:4711"
            assert line["message_id"].startswith("urn:uuid:")


@pytest.mark.parametrize("how", ["crash", "schema"])
def test_every_call_that_fails_although_it_would_have_changed_something_leaves_exactly_one_line(
    leased: Leased, how: str
) -> None:
    leased.statements.broken = how == "crash"
    for service, operation in operations():
        elements = {etree.QName(element).localname: element for element, _ in Contract.packaged().operations(service)}
        if elements[operation] in READS:
            continue
        text = sample(service, operation, leased.ids.get(service, []))
        if how == "schema":
            text = re.sub(r"(<[\w:]*Body>\s*<[^>]*?)(/?>)", r' \1 canary="7Q"\2', text, count=1)
        before = len(leased.site.lines)
        status, answer = leased.site.send(service, text, ALICE)
        (line,) = leased.site.lines[before:]
        assert status == 500, (service, operation)
        assert (line["who"], line["endpoint"], line["operation"]) == ("alice", service, operation)
        assert line["outcome"].endswith(("Fault", "Client")), line
        assert line["incident"], (service, operation, line)
        assert "canary" not in str(line)
        assert "canary-7Q" not in etree.tostring(answer, encoding="unicode")

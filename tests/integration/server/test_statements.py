"""How many statements a call sends to its database: each costs as much as a good part of everything else in a call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import event

from flyinglow.access.identity import Identity
from rigs.composed import Composed, sample
from rigs.store import OpenStore, open_store  # noqa: F401

ALICE = Identity("alice", via="x509")
DISK = "<Disk><Image>minimal</Image></Disk>"
CREATE = """<Create xmlns="urn:flyinglow:factory:1"><Name>one</Name>
<Part><Name>a</Name><Count>{count}</Count><MemoryMB>16</MemoryMB><CPUs>1</CPUs>{disk}{nic}</Part>
<Lease><Duration>PT1H</Duration></Lease></Create>"""
NIC = "<NIC><Network>private</Network></NIC>"
ID = "{urn:flyinglow:types:1}ResourceID"
TURNS = ("BEGIN", "SAVEPOINT", "RELEASE")


class Counted:
    """A site, and the statements that reach its database; those that only mark a transaction's ends do not count."""

    def __init__(self, site: Composed) -> None:
        self.site = site
        self.statements: list[str] = []
        for engine in (site.store._database.reading, site.store._database.writing):
            event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(TURNS):
            self.statements.append(statement)

    def create(self, *, count: int = 1, nic: str = "") -> str:
        """Lease workspaces; return the id of one. The first ones also fill what is read once only."""
        self.statements.clear()
        made = self.site.ask("factory", CREATE.format(count=count, disk=DISK, nic=nic), ALICE)
        assert etree.QName(made).localname == "CreateResponse", etree.tostring(made)
        return str(list(made.iter(ID))[-1].text)


@pytest.fixture
def counted(tmp_path: Path, open_store: OpenStore) -> Iterator[Counted]:  # noqa: F811
    site = Composed(tmp_path, open_store())
    try:
        yield Counted(site)
    finally:
        site.close()


def test_a_create_reads_thrice_and_writes_each_row_once(counted: Counted) -> None:
    counted.create()
    counted.create()
    assert [text.split()[0] for text in counted.statements].count("SELECT") == 3, counted.statements
    assert len(counted.statements) == 8, counted.statements  # and lease, workspace, hold, and two events


def test_a_nic_costs_a_create_its_address(counted: Counted) -> None:
    counted.create()
    counted.create(nic=NIC)
    assert len(counted.statements) == 10, counted.statements  # it is leased, and its pool counted


def test_many_workspaces_take_no_more_reads_than_one(counted: Counted) -> None:
    counted.create(count=2)
    counted.create(count=8)
    assert [text.split()[0] for text in counted.statements].count("SELECT") == 3, counted.statements


def test_a_property_is_one_read(counted: Counted) -> None:
    workspace = counted.create()
    counted.statements.clear()
    status, answer = counted.site.send("workspace", sample("workspace", "GetResourceProperty", [workspace]), ALICE)
    assert (status, len(counted.statements)) == (200, 1), (etree.tostring(answer), counted.statements)

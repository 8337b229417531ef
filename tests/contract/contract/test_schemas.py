"""The schemas refuse what is wrong before any code sees it, and tie together without the network."""

from datetime import datetime
from typing import Any

import pytest
from lxml import etree

from flyinglow.ensemble.properties_xml import EnsembleDirectory
from flyinglow.factory.properties_xml import FactoryDirectory
from flyinglow.group.properties_xml import GroupDirectory
from flyinglow.group.shares_xml import SharedDirectory
from flyinglow.workspace.model import Kind
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.properties_xml import WorkspaceDirectory
from flyinglow.workspace.states import State, Task
from flyinglow.wsrf.contract import Contract, ContractError
from flyinglow.wsrf.ports import ResourceDirectory
from flyinglow.wsrf.properties import DIALECTS
from flyinglow.wsrf.xml import E
from rigs.contract import ADDRESSES, NOW

XS = "{http://www.w3.org/2001/XMLSchema}"
DISK = "<Disk><Image>minimal</Image></Disk>"
PART = f"<Part><Name>ce</Name><MemoryMB>512</MemoryMB><CPUs>1</CPUs>{DISK}</Part>"


def create(inner: str) -> etree._Element:
    return etree.fromstring(f'<Create xmlns="urn:flyinglow:factory:1">{inner}</Create>')


def fits(contract: Contract, inner: str) -> bool:
    try:
        contract.validate(create(inner))
    except ContractError:
        return False
    return True


GOOD = {
    "the least": f"<Name>a</Name>{PART}",
    "a name of forty characters": f"<Name>{'a' * 40}</Name>{PART}",
    "a number for a name": f"<Name>7</Name>{PART}",
    "a blank disk": f"<Name>a</Name>{PART.replace(DISK, '<Disk><BlankMB>1</BlankMB></Disk>')}",
    "a partition": f"<Name>a</Name>{PART.replace(DISK, '<Disk><Partition>scratch_1</Partition></Disk>')}",
    "an image by URI": f"<Name>a</Name>{PART.replace('minimal', 'https://images.example/a.img')}",
    "days": f"<Name>a</Name>{PART}<Lease><Duration>P400D</Duration></Lease>",
    "a deadline": f"<Name>a</Name>{PART}<Lease><StartBy>2026-01-01T00:00:00+01:00</StartBy></Lease>",
    "a wait": f"<Name>a</Name>{PART}<Lease><StartWithin>PT5M</StartWithin></Lease>",
    "saving": f"<Name>a</Name>{PART}<Lease><EndAction>Save</EndAction><SaveTo>file:///a</SaveTo></Lease>",
    "open": f"<Name>a</Name>{PART}<Open>1</Open>",
}
BAD = {
    "no part": "<Name>a</Name>",
    "no name": PART,
    "an empty name": f"<Name/>{PART}",
    "a name in capitals": f"<Name>CE</Name>{PART}",
    "a name with a dot": f"<Name>a.b</Name>{PART}",
    "a name that ends with a hyphen": f"<Name>a-</Name>{PART}",
    "a name that is a path": f"<Name>../a</Name>{PART}",
    "a long name": f"<Name>{'a' * 41}</Name>{PART}",
    "a count of nought": f"<Name>a</Name>{PART.replace('</Name>', '</Name><Count>0</Count>')}",
    "a negative count": f"<Name>a</Name>{PART.replace('</Name>', '</Name><Count>-1</Count>')}",
    "a huge count": f"<Name>a</Name>{PART.replace('</Name>', '</Name><Count>65537</Count>')}",
    "no memory": f"<Name>a</Name>{PART.replace('512', '0')}",
    "memory beyond an int": f"<Name>a</Name>{PART.replace('512', '2147483648')}",
    "half a CPU": f"<Name>a</Name>{PART.replace('<CPUs>1', '<CPUs>0.5')}",
    "a disk of two sources": f"<Name>a</Name>{PART.replace('</Image>', '</Image><BlankMB>1</BlankMB>')}",
    "a disk of no source": f"<Name>a</Name>{PART.replace(DISK, '<Disk/>')}",
    "a negative disk": f"<Name>a</Name>{PART.replace(DISK, '<Disk><BlankMB>-5</BlankMB></Disk>')}",
    "a relative mount point": f"<Name>a</Name>{PART.replace('</Image>', '</Image><MountPoint>data</MountPoint>')}",
    "a network that is a path": f"<Name>a</Name>{PART.replace(DISK, DISK + '<NIC><Network>../x</Network></NIC>')}",
    "an empty duration": f"<Name>a</Name>{PART}<Lease><Duration/></Lease>",
    "a duration of nothing": f"<Name>a</Name>{PART}<Lease><Duration>P</Duration></Lease>",
    "a negative duration": f"<Name>a</Name>{PART}<Lease><Duration>-PT1H</Duration></Lease>",
    "a duration of months": f"<Name>a</Name>{PART}<Lease><Duration>P1M</Duration></Lease>",
    "both deadlines": f"<Name>a</Name>{PART}"
    "<Lease><StartBy>2026-01-01T00:00:00Z</StartBy><StartWithin>PT1H</StartWithin></Lease>",
    "a state that is none": f"<Name>a</Name>{PART}<Lease><InitialState>Ended</InitialState></Lease>",
    "an empty token": f"<Name>a</Name>{PART}<Token/>",
    "a long token": f"<Name>a</Name>{PART}<Token>{'a' * 129}</Token>",
    "an unknown element": f"<Name>a</Name>{PART}<Colour>red</Colour>",
    "an unknown attribute": f'<Name lang="en">a</Name>{PART}',
    "the wrong order": f"{PART}<Name>a</Name>",
    "a key of two lines": f"<Name>a</Name>{PART.replace(DISK, DISK + '<Context><Key>a&#10;b</Key></Context>')}",
}


@pytest.mark.parametrize("inner", GOOD.values(), ids=GOOD.keys())
def test_a_good_request_is_let_in(contract: Contract, inner: str) -> None:
    contract.validate(create(inner))


@pytest.mark.parametrize("inner", BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_kept_out(contract: Contract, inner: str) -> None:
    assert not fits(contract, inner)


def test_schemas_refer_to_each_other_by_bare_file_names(contract: Contract) -> None:
    for data in contract.schemas.values():
        for link in etree.fromstring(data).iter(f"{XS}import", f"{XS}include"):
            assert link.get("schemaLocation", "") in contract.schemas


def test_each_name_space_has_one_schema(contract: Contract) -> None:
    targets = [etree.fromstring(data).get("targetNamespace") for data in contract.schemas.values()]
    assert len(targets) == len(set(targets)) == 15


def test_every_own_element_is_qualified(contract: Contract) -> None:
    for name, data in contract.schemas.items():
        if name != "xml.xsd":
            assert etree.fromstring(data).get("elementFormDefault") == "qualified"


def test_the_reference_parameter_is_nobodys_business(contract: Contract) -> None:
    assert not any(b'"ResourceID"' in data for data in contract.schemas.values())


def test_anything_goes_only_at_the_end(contract: Contract) -> None:
    """Stacks that unpack xs:any need it last."""
    for data in contract.schemas.values():
        for wildcard in etree.fromstring(data).iter(f"{XS}any"):
            assert wildcard.getnext() is None


@pytest.mark.parametrize("word", [*State, "Mixed"])
def test_every_state_can_be_said(contract: Contract, word: str) -> None:
    contract.validate(E["fl"].State(word))


@pytest.mark.parametrize("word", Task)
def test_every_task_can_be_said(contract: Contract, word: str) -> None:
    contract.validate(E["fl"].Task(word))


@pytest.mark.parametrize("word", ShutdownMode)
@pytest.mark.parametrize("prefix", ["flw", "flg", "fle"])
def test_every_way_to_shut_down_can_be_asked_for(contract: Contract, word: str, prefix: str) -> None:
    contract.validate(E[prefix].Shutdown(E[prefix].Mode(word)))


@pytest.mark.parametrize("prefix", ["flw", "flg", "fle"])
def test_another_way_to_shut_down_is_kept_out(contract: Contract, prefix: str) -> None:
    with pytest.raises(ContractError):
        contract.validate(E[prefix].Shutdown(E[prefix].Mode("Explode")))


def now() -> datetime:
    return NOW


NOBODY: Any = None
DIRECTORIES: dict[str, ResourceDirectory] = {
    "FactoryProperties": FactoryDirectory(NOBODY, now),
    "WorkspaceProperties": SharedDirectory(WorkspaceDirectory(NOBODY, now), NOBODY, Kind.WORKSPACE),
    "GroupProperties": SharedDirectory(GroupDirectory(NOBODY, ADDRESSES, now), NOBODY, Kind.GROUP),
    "EnsembleProperties": SharedDirectory(EnsembleDirectory(NOBODY, ADDRESSES, now), NOBODY, Kind.ENSEMBLE),
}


@pytest.mark.parametrize("root", DIRECTORIES)
def test_the_properties_are_those_of_the_schema_in_its_order(contract: Contract, root: str) -> None:
    schema = etree.fromstring(contract.schemas["types.xsd"])
    (element,) = (e for e in schema.iterchildren(f"{XS}element") if e.get("name") == root)
    refs = [ref.get("ref", "").split(":") for ref in element.iter(f"{XS}element") if "ref" in ref.attrib]
    promised = tuple(f"{{{element.nsmap[prefix]}}}{local}" for prefix, local in refs)
    assert (*DIRECTORIES[root].property_names(), DIALECTS) == promised

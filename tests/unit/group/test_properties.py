"""What a group and an ensemble say of their schedule and size: folded from their members."""

from dataclasses import replace
from datetime import timedelta

import pytest
from lxml.etree import _Element

from flyinglow.client import properties as client
from flyinglow.workspace.model import Allocation
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS
from rigs.contract import ENDS, ENSEMBLE, GROUP, MEMBERS, NOW
from rigs.contract_site import Site

EARLIER, LATER = NOW - timedelta(hours=2), ENDS + timedelta(hours=3)
ROWS = tuple(
    replace(row, accepted_at=accepted, ends_at=ends, start_by=begin, duration=duration, allocation=size)
    for row, accepted, ends, begin, duration, size in zip(
        MEMBERS[:3],
        (NOW, EARLIER, NOW),
        (ENDS, LATER, None),
        (None, NOW, ENDS),
        (600, 7200, 60),
        (Allocation(memory_mb=at, cpus=at + 1, disk_mb=at + 2) for at in (100, 200, 300)),
        strict=True,
    )
)


def document(kind: str) -> _Element:
    site = Site()
    wholes, key = {"group": (site.groups, GROUP), "ensemble": (site.ensembles, ENSEMBLE)}[kind]
    wholes.whole = replace(wholes.whole, members=ROWS, all_members=ROWS)
    (found,) = site.body(kind, f'<GetResourcePropertyDocument xmlns="{NS["rp"]}"/>', key.id)
    Contract.packaged().validate(found)
    return found


@pytest.mark.parametrize("kind", ["group", "ensemble"])
def test_a_whole_has_the_earliest_beginning_the_latest_end_and_the_sum(kind: str) -> None:
    told = client.read(document(kind), kind, lambda _: None)  # type: ignore[arg-type, return-value]
    assert (told.accepted_at, told.start_by, told.ends_at) == (EARLIER, NOW, LATER)
    assert told.duration == 7200
    assert told.allocation is not None
    assert (told.allocation.memory_mb, told.allocation.cpus, told.allocation.disk_mb) == (600, 603, 606)


@pytest.mark.parametrize("kind", ["group", "ensemble"])
def test_they_stand_behind_the_reason(kind: str) -> None:
    names = [str(child.tag).rpartition("}")[2] for child in document(kind)]
    at = names.index("Schedule")
    assert names[at : at + 2] == ["Schedule", "ResourceAllocation"]
    assert names.index("State") < at < names.index("Census")
    assert document(kind).findtext(f"{{{NS['fl']}}}Schedule/{{{NS['fl']}}}TerminationTime") is not None

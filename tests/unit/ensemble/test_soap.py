"""The Ensemble on the wire."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname, text_of
from rigs.contract import ENSEMBLE, NOW
from rigs.contract_site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def test_done_reaches_the_service(site: Site) -> None:
    assert site.body("ensemble", f'<Done xmlns="{NS["fle"]}"/>', ENSEMBLE.id).tag == qname("fle", "DoneResponse")
    assert site.ensembles.asked == ["done"]


@pytest.mark.parametrize("body", ["<Start {}/>", "<Shutdown {}><Mode>Trash</Mode></Shutdown>"])
def test_a_fan_out_answers_in_the_ensembles_own_name_space(site: Site, body: str) -> None:
    answer = site.body("ensemble", body.format(f'xmlns="{NS["fle"]}"'), ENSEMBLE.id)
    Contract.packaged().validate(answer)
    assert answer.tag.startswith(f"{{{NS['fle']}}}")
    assert len(answer.findall(qname("fl", "Result"))) == 4


def test_an_open_ensemble_says_so_and_until_when(site: Site) -> None:
    row = replace(site.ensembles.whole.row, open=True, ends_at=NOW + timedelta(minutes=30))
    site.ensembles.whole = replace(site.ensembles.whole, row=row, members=(), all_members=())
    (document,) = site.body("ensemble", f'<GetResourcePropertyDocument xmlns="{NS["rp"]}"/>', ENSEMBLE.id)
    Contract.packaged().validate(document)
    assert text_of(document, qname("fl", "Open")) == "true"
    assert text_of(document, qname("rl", "TerminationTime")) == "2026-03-01T12:30:00Z"
    report = site.body("ensemble", f'<Report xmlns="{NS["fle"]}"/>', ENSEMBLE.id)
    Contract.packaged().validate(report)
    assert text_of(report, qname("fl", "Open")) == "true"


def test_a_group_message_is_not_an_ensembles(site: Site) -> None:
    site.body("ensemble", f'<Start xmlns="{NS["flg"]}"/>', ENSEMBLE.id)
    assert site.ensembles.asked == []

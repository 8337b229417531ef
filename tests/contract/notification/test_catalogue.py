"""The notification catalogue shows every topic, by a message that is really sent and fits the schemas."""

import re
from pathlib import Path

import pytest
from lxml import etree

from flyinglow.workspace.producer_xml import topic_names
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS

CATALOGUE = Path(__file__).parents[3] / "docs" / "reference" / "notifications.md"
pytestmark = pytest.mark.skipif(not CATALOGUE.is_file(), reason="not the repository's own layout")
SECTION = re.compile(r"^### ([\w-]+:[\w-]+)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
SAMPLE = re.compile(r"^```xml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN = {
    "fl:state": "StateChange",
    "fl:schedule": "ScheduleChange",
    "fl:networking": "NetworkingChange",
    "fl:termination": "TerminationNotice",
    "fl:warning": "EndWarning",
}


def sections() -> dict[str, str]:
    return dict(SECTION.findall(CATALOGUE.read_text(encoding="utf-8")))


def test_every_topic_has_its_section_and_nothing_else_has() -> None:
    assert list(sections()) == list(topic_names(whole=True))


@pytest.mark.parametrize("topic", topic_names(whole=True))
def test_its_sample_fits_the_schemas(topic: str) -> None:
    (sample,) = SAMPLE.findall(sections()[topic])
    element = etree.fromstring(sample)
    Contract.packaged().validate(element)
    if topic in OWN:
        assert element.tag == f"{{{NS['fl']}}}{OWN[topic]}"
    elif topic.endswith("-value"):
        assert element.tag == f"{{{NS['rp']}}}ResourcePropertyValueChangeNotification"
    else:
        assert etree.QName(element).namespace in {NS["rl"], NS["sg"], NS["rp"]}

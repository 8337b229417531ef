"""A node stopped a guest from sending what is not its own: who is told, and how often."""

from structlog.testing import capture_logs

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.messages import VmInfo, VmStatus
from flyinglow.workspace.model import Topic
from rigs.site import Site, part, whole

WORDS = "3 ARP for another address"


def test_an_alarm_is_told_to_the_lessee_and_to_the_site_and_changes_nothing_else(site: Site) -> None:
    created = site.create(part("a"), part("b"))
    site.settle()
    row = site.row("a")
    before = len(site.told(row.key, Topic.NETWORKING))
    with capture_logs() as lines:
        site.provisioner.news(row.node or "", VmInfo(row.tag, VmStatus.RUNNING, alarm=WORDS, dropped={"arp": 3}))
        site.settle()
        site.provisioner.news(row.node or "", VmInfo(row.tag, VmStatus.RUNNING, dropped={"arp": 3}))
        site.provisioner.news("elsewhere", VmInfo(row.tag, VmStatus.RUNNING, alarm=WORDS))
        site.settle()
    told = site.told(row.key, Topic.NETWORKING)[before:]
    assert [event.body["reason"] for event in told] == [f"its guest sent what is not its own, and was stopped: {WORDS}"]
    assert told[0].body["nics"] == site.told(row.key, Topic.NETWORKING)[0].body["nics"]
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert (line["workspace"], line["tag"], line["node"], line["sent"]) == ("a", row.tag, row.node, WORDS)
    assert site.states() == {"a": "Running", "b": "Running"}
    folded = [event for event in site.drain() if event.key == whole(created) and event.topic is Topic.NETWORKING]
    assert folded[-1].body["reason"].startswith("a: its guest sent")


def test_an_alarm_of_a_vm_that_is_over_is_nobodys_business(site: Site) -> None:
    site.create()
    site.settle()
    row = site.row("vm")
    site.workspace.destroy(LOCAL, row.id)
    site.settle()
    before = len(site.told(row.key, Topic.NETWORKING))
    site.provisioner.news(row.node or "", VmInfo(row.tag, VmStatus.RUNNING, alarm=WORDS))
    site.settle()
    assert len(site.told(row.key, Topic.NETWORKING)) == before

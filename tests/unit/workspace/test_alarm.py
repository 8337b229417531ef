"""A node stopped a guest from sending what is not its own: who is told, and how often."""

from dataclasses import replace
from functools import partial
from typing import Any

from structlog.testing import capture_logs

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.messages import VmInfo, VmStatus
from flyinglow.workspace.alarm_book import KEPT, Alarm, alarms, note
from flyinglow.workspace.model import Topic
from flyinglow.workspace.ports import Tx
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


def test_the_administrator_has_a_list_that_outlives_the_workspace(site: Site) -> None:
    site.create(part("a"), part("b"))
    site.settle()
    for name, count in (("a", 1), ("b", 5), ("a", 4)):
        row = site.row(name)
        news = VmInfo(row.tag, VmStatus.RUNNING, alarm=f"{count} ARP", dropped={"arp": count})
        site.provisioner.news(row.node or "", replace(news, dropped_at={"0": {"arp": count}}))
        site.settle()
    found = site.store.view(alarms)
    assert [(one.workspace, one.sent, dict(one.counts)) for one in found] == [
        ("b", "5 ARP", {"arp": 5}),
        ("a", "4 ARP", {"arp": 4}),
    ]
    row = site.row("a")
    assert (found[1].tag, found[1].owner, found[1].node) == (row.tag, row.owner, row.node)
    assert row.nics[0].dropped == (("arp", 4),)
    site.workspace.destroy(LOCAL, row.id)
    site.settle()
    assert site.store.view(alarms) == found


def _note(alarm: Alarm, tx: Tx) -> None:
    note(tx, alarm)


def test_the_list_does_not_grow_for_ever(site: Site) -> None:
    facts: dict[str, Any] = {
        "workspace": "w",
        "owner": "o",
        "node": "n",
        "sent": "s",
        "counts": {},
        "last": "2",
        "first": "1",
    }
    for number in range(KEPT + 5):
        site.store.call(partial(_note, Alarm(tag=f"t{number}", **facts)))
    site.store.call(partial(_note, Alarm(tag="t9", **{**facts, "first": "3"})))
    found = site.store.view(alarms)
    assert (len(found), found[0].tag, found[-1].tag, found[-1].first) == (KEPT, "t5", "t9", "1")


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

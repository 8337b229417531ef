"""What nodes fetch for workspaces that are not wanted any more is stopped at once; all else waits for its turn."""

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmStatus
from flyinglow.workspace.catalogue import Image
from flyinglow.workspace.transfers import EVERY, Pace
from rigs.site import CATALOGUE, MakeSite, Site, key_of, part

CREATE, DESTROY = OrderName.CREATE, OrderName.DESTROY


@pytest.fixture
def slow(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setitem(CATALOGUE, "plain", Image(name="plain", source="http://images/x", sha256="a" * 64, size_mb=100))
    return make_site(options={"delays": {"create": 5.0}})


def _orders(site: Site, name: str) -> list[OrderName]:
    tag = site.row(name).tag
    return [order.name for _, order in site.simulation.log if order.tag == tag]


def test_a_destroy_while_an_image_may_be_on_its_way_is_sent_at_once_and_again_when_the_node_has_answered(
    slow: Site,
) -> None:
    before = slow.free()
    created = slow.create(part("a"), part("b"))
    slow.settle(1)
    slow.workspace.destroy(LOCAL, key_of(created, "a").id)
    slow.settle(1)
    assert _orders(slow, "a") == [CREATE, DESTROY]
    assert slow.states()["a"] == "Unpropagated/Reclaiming"  # held, and its orders not over, until the node has answered
    slow.settle(5)
    assert _orders(slow, "a") == [CREATE, DESTROY, DESTROY]
    assert slow.states() == {"a": "Ended", "b": "Running"}
    slow.workspace.destroy(LOCAL, key_of(created, "b").id)
    slow.settle(6)
    assert _orders(slow, "b")[-1:] == [DESTROY]
    assert list(slow.simulation.vms()) == []
    assert slow.free() == before


def test_a_member_that_cannot_be_created_stops_what_the_others_wait_for(slow: Site) -> None:
    slow.create(part("a"), part("b"))
    slow.simulation.delay("create", 0.0, tag=slow.row("a").tag)
    slow.simulation.fail_next("create", InvalidError("wrong checksum"), tag=slow.row("a").tag)
    slow.settle(1)
    assert _orders(slow, "b") == [CREATE, DESTROY]
    slow.settle(10)
    assert _orders(slow, "b") == [CREATE, DESTROY, DESTROY]
    assert slow.states() == {"a": "Corrupted", "b": "Corrupted"}
    assert "member a" in slow.row("b").reason
    assert list(slow.simulation.vms()) == []


def test_how_far_a_transfer_is_can_always_be_read_and_is_told_now_and_then(slow: Site) -> None:
    created = slow.create(part("a"), part("b"))
    slow.settle(1)
    slow.simulation.delay("create", 100.0)
    row = slow.row("a")
    told = len(slow.told(row.key))
    heard: list[str] = []
    for second in range(12):
        words = f"image x: {second}.0 of 30.0 MiB, 1.0 MiB/s"
        slow.provisioner.news(row.node or "", VmInfo(row.tag, VmStatus.CREATED, progress=words))
        slow.settle(0.3)
        assert slow.row("a").reason == words
        if slow.told(row.key)[told + len(heard) :]:
            heard.append(words)
            news = slow.told(row.key)[-1].body
            assert (news["reason"], news["state"], news["task"]) == (words, "Unpropagated", "Propagating")
    assert len(heard) == 1  # within a few seconds
    assert slow.states()["b"] == "Unpropagated/Propagating"
    slow.workspace.destroy(LOCAL, key_of(created, "a").id)
    slow.provisioner.news(row.node or "", VmInfo(row.tag, VmStatus.CREATED, progress="more"))
    slow.settle(EVERY)
    assert slow.row("a").reason != "more"


def test_each_transfer_is_told_of_again_when_it_is_time() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0], every=5.0)
    one, two, quiet = (
        VmInfo(tag, VmStatus.CREATED, progress=words) for tag, words in (("a", "1"), ("b", "1"), ("c", ""))
    )
    assert pace.due([one, quiet, one]) == {"a"}
    now[0] = 4.0
    assert pace.due([one, two]) == {"b"}
    now[0] = 5.0
    assert pace.due([one, two]) == {"a"}
    now[0] = 9.9
    assert pace.due([one, two]) == {"b"}

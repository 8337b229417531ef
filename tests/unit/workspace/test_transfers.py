"""What nodes fetch for workspaces that are not wanted any more is stopped at once; all else waits for its turn."""

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.catalogue import Image
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

"""A node that answers nonsense has failed the order; the answers that came with it are taken up all the same."""

from collections.abc import Mapping
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import Order
from flyinglow.nodectl.messages import OrderName, vm_info
from flyinglow.workspace.outcomes import ShutdownMode
from rigs.site import MakeSite, Site, key_of, part, whole

NONSENSE: list[Any] = [
    {},
    None,
    [1],
    {"tag": "another0", "status": "paused"},
    {"tag": "TAG", "status": "paused", "seconds": "long"},
    {"tag": "TAG", "status": "paused", "seconds": {"image": float("nan")}},
    {"tag": "TAG", "status": "paused", "reason": 7},
    {"tag": "TAG", "status": ["paused"]},
]


def babble(site: Site, monkeypatch: pytest.MonkeyPatch, order: OrderName, tag: str, body: Any) -> None:
    """Let the node do this order for this VM and answer it with ``body``."""
    honest = site.simulation.send

    async def send(node: str, asked: Order, timeout: float) -> Mapping[str, Any]:
        answer = await honest(node, asked, timeout)
        if asked.name is not order or asked.tag != tag:
            return answer
        return {**body, "tag": tag} if isinstance(body, dict) and body.get("tag") == "TAG" else body

    monkeypatch.setattr(site.simulation, "send", send)


@pytest.mark.parametrize("body", NONSENSE)
def test_an_answer_that_cannot_be_read_is_a_failed_order(
    site: Site, monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    created = site.create(part("a"), part("b"))
    site.settle()
    babble(site, monkeypatch, OrderName.PAUSE, site.row("a").tag, body)
    site.ensemble.shutdown(LOCAL, whole(created).id, ShutdownMode.PAUSE)
    site.settle()
    sent = [order for _, order in site.simulation.log if order.name is OrderName.PAUSE]
    assert len(sent) == 2
    assert site.states() == {"a": "Running", "b": "Paused"}
    assert "cannot be read" in site.row("a").reason
    site.run(site.provisioner.reconcile())
    assert site.states() == {"a": "Paused", "b": "Paused"}


def test_a_launch_that_is_answered_with_nonsense_is_backed_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.free()
    site.provisioner.stop()
    created = site.create(part("a"), part("b"))
    site.boot(site.simulation)
    tag = site.row("a").tag
    babble(site, monkeypatch, OrderName.CREATE, tag, {"tag": "TAG", "status": "created", "seconds": {"network": "x"}})
    site.run(site.provisioner.reconcile())
    assert site.states() == {"a": "Corrupted", "b": "Corrupted"}
    assert "member a" in site.row("b").reason
    assert "cannot be read" in site.row("b").reason
    assert site.free() == before
    assert key_of(created, "a").id == site.row("a").id


def test_one_that_cannot_be_written_down_does_not_hold_up_the_others(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    created = site.create(part("a"), part("b"))
    site.settle()
    from flyinglow.workspace import operation

    honest, bad = operation.seen, site.row("a").id

    def seen(tx: Any, row: Any, info: Any, now: Any) -> Any:
        if row.id == bad:
            raise ZeroDivisionError
        return honest(tx, row, info, now)

    monkeypatch.setattr(operation, "seen", seen)
    site.ensemble.shutdown(LOCAL, whole(created).id, ShutdownMode.PAUSE)
    site.settle()
    assert site.states() == {"a": "Running/Pausing", "b": "Paused"}
    monkeypatch.undo()
    site.settle(60)
    assert site.states() == {"a": "Paused", "b": "Paused"}


def test_what_a_node_says_has_types() -> None:
    for body in NONSENSE:
        if isinstance(body, dict) and body.get("tag") != "another0":
            with pytest.raises((KeyError, TypeError, ValueError)):
                vm_info(body)
    assert vm_info({"tag": "a", "status": "paused", "seconds": {"image": 1, "network": 0.5}}).seconds["image"] == 1

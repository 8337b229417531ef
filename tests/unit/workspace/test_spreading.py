"""How an image is spread over a launch set: who is asked, in which chain, and who is left out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.nodectl.errors import InvalidError, TransientError
from flyinglow.nodectl.messages import DiskSpec, Offered, OrderName, VmSpec
from flyinglow.workspace.catalogue import Image
from flyinglow.workspace.model import Allocation, Workspace
from flyinglow.workspace.orders import Answer, Ask, Round
from flyinglow.workspace.spreading import Member, Spreading, chains, shared
from rigs.site import CATALOGUE, Site, part

ROOT, DATA = "a" * 64, "b" * 64
ROW = Workspace(
    id="i", tag="t", owner="me", name="ce", part="ce", lease_id="l", launch_set="s", node="n",
    allocation=Allocation(memory_mb=96, cpus=1), duration=60, accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


def _member(name: str, node: str, *disks: DiskSpec) -> Member:
    return replace(ROW, id=name, tag=name, name=name, node=node), VmSpec(name, name, 96, 1, disks=disks)


def _disk(digest: str | None = ROOT, source: str = "http://images/x") -> DiskSpec:
    return DiskSpec("root", source=source, sha256=digest)


def test_only_what_several_nodes_have_to_fetch_is_shared() -> None:
    here, nowhere = _disk(source="/srv/x"), DiskSpec("b", blank_mb=1)
    members = [
        _member("a", "slot2@n2", _disk(), _disk(DATA), here),
        _member("b", "slot1@n1", _disk(ROOT.upper()), here, nowhere),
        _member("c", "slot3@n1", _disk(), _disk("c" * 64), _disk(None)),
        _member("d", "slot4@n1", _disk("c" * 64), replace(here, source="file:///srv/x")),
    ]
    assert shared(members) == {ROOT: ("n1", "n2")}


def _offers(*held: str, absent: str = "") -> dict[str, Offered]:
    names = ["n1", "n2", "n3", "n4", "n5"]
    return {
        name: Offered("" if name == absent else f"http://{name}", (ROOT,) if name in held else ()) for name in names
    }


def _before(offered: dict[str, Offered]) -> dict[str, str]:
    found = chains({ROOT: tuple(sorted(offered))}, offered)
    assert all(set(urls) == {ROOT} for urls in found.values())
    assert all(url.endswith(f"/{ROOT}") for urls in found.values() for url in urls[ROOT])
    return {node: " ".join(url[len("http://") : -65] for url in urls[ROOT]) for node, urls in found.items()}


@pytest.mark.parametrize(
    ("offered", "before"),
    [
        (_offers(), {"n2": "n1", "n3": "n2 n1", "n4": "n3 n2", "n5": "n4 n3"}),
        (_offers(absent="n3"), {"n2": "n1", "n4": "n2 n1", "n5": "n4 n2"}),
        (_offers("n4"), {"n1": "n4", "n2": "n1 n4", "n3": "n2 n1", "n5": "n3 n2"}),
        (_offers("n2", "n4"), {"n1": "n2", "n3": "n4", "n5": "n1 n2"}),
        (_offers("n1", "n2", "n3", "n4", "n5"), {}),
    ],
)
def test_nodes_stand_in_a_line_behind_those_that_have_it(offered: dict[str, Offered], before: dict[str, str]) -> None:
    assert _before(offered) == before


def test_nobody_waits_for_anybody_in_a_circle() -> None:
    """Two launch sets on the same nodes: whoever is before another one in one of them is so in the other."""
    for absent in ("n1", "n3", "n5", ""):
        for node, before in _before(_offers(absent=absent)).items():
            assert all(one < node for one in before.split())


class Nodes:
    """Answers offers; ``asked`` is what came."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[Ask] = []

    def send(self, asks: Sequence[Ask]) -> Round:
        self.asked += asks
        answers = Round(len(asks))
        for ask in asks:
            found = self.answers.get(ask.row.node or "", {})
            wrong = isinstance(found, Exception)
            answers.put(Answer(ask.row, error=found) if wrong else Answer(ask.row, found))
        return answers


def _planned(nodes: Nodes, members: Sequence[Member]) -> Any:
    key: Callable[[], str] = lambda: "k" * 64  # noqa: E731 - as the constructor takes it
    done = Deferred.fromCoroutine(Spreading(nodes.send, seconds=600, patience=15, key=key).upstreams(members))
    found: list[Any] = []
    done.addCallback(found.append)
    return found[0]


def test_each_node_is_asked_once_and_told_whom_to_ask() -> None:
    members = [_member(name, f"j.{name}@{node}", _disk()) for name, node in (("a", "n1"), ("b", "n2"), ("c", "n2"))]
    urls = {"j.a@n1": {"url": "http://10.0.0.1:1", "held": []}, "j.c@n2": {"url": "http://10.0.0.2:2", "held": []}}
    nodes = Nodes(**urls)
    planned = _planned(nodes, members)
    assert [(ask.row.id, ask.order.name, ask.timeout) for ask in nodes.asked] == [
        ("a", OrderName.OFFER, 15),
        ("c", OrderName.OFFER, 15),
    ]
    assert nodes.asked[0].order.body == {"key": "k" * 64, "digests": [ROOT], "seconds": 600}
    told = {"upstream": {"key": "k" * 64, "urls": {ROOT: [f"http://10.0.0.1:1/{ROOT}"]}}}
    assert planned == {"b": told, "c": told}


@pytest.mark.parametrize(
    "answer",
    [
        InvalidError("there is no order 'offer'"), TransientError("silent"), {}, {"url": 7}, {"url": "", "held": []},
        {"url": "http://10.0.0.2:1/x", "held": []}, {"url": "http://me:pw@10.0.0.2:1", "held": []},
        {"url": "https://10.0.0.2:1", "held": []}, {"url": "http://metadata:1", "held": []},
        {"url": "http://10.0.0.2:1?x", "held": []}, {"url": "http://10.0.0.2:99999", "held": []},
        {"url": ["http://10.0.0.2:1"], "held": []}, {"url": "http://10.0.0.2:1", "held": "all"},
    ],
)  # fmt: skip
def test_a_node_that_offers_nothing_is_left_out(answer: Any) -> None:
    members = [_member(node, node, _disk()) for node in ("n1", "n2", "n3")]
    good = {name: {"url": f"http://10.0.0.{name[1]}:1", "held": []} for name in ("n1", "n3")}
    planned = _planned(Nodes(**good, n2=answer), members)
    assert [each["upstream"]["urls"] for each in planned.values()] == [{ROOT: [f"http://10.0.0.1:1/{ROOT}"]}] * len(
        planned
    )
    assert "n3" in planned


def test_nobody_is_asked_when_nothing_is_shared() -> None:
    nodes = Nodes()
    assert _planned(nodes, [_member("a", "n1", _disk()), _member("b", "n2", _disk(DATA))]) == {}
    assert nodes.asked == []


def test_a_launch_set_runs_on_nodes_that_know_of_no_offers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "plain", Image(name="plain", source="http://images/x", sha256=ROOT, size_mb=100))
    site.create(part("a", memory_mb=900), part("b", memory_mb=900))
    site.settle()
    assert site.states() == {"a": "Running", "b": "Running"}
    assert len({site.row(name).node for name in "ab"}) == 2
    spec = site.simulation.spec(site.row("b").tag)
    assert spec is not None
    assert spec.disks[0].sha256 == ROOT


def test_keys_are_random_and_in_no_text() -> None:
    spreading = Spreading(Nodes().send, seconds=1, patience=1)
    keys = {spreading.key() for _ in range(10)}
    assert len(keys) == 10
    assert all(re.fullmatch(r"[0-9a-f]{64}", key) for key in keys)

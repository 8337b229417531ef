"""The simulated back-end on a clock that tests turn by hand."""

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.backend import simulated
from flyinglow.backend.api import Claim, Demand, NodeState, NodeView, Order, Queued, Request, Settings, View
from flyinglow.backend.simulated import SimulatedBackend
from flyinglow.nodectl.errors import ConflictError, ExhaustedError, InvalidError, TransientError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode


class Site:
    """A simulated back-end with what a test needs to drive it."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.news: list[tuple[str, VmInfo]] = []
        self.nodes = {name: NodeState(name=name, memory_mb=1000, cpus=10, disk_mb=100) for name in ("n1", "n2")}
        self.settings = Settings(
            reactor=self.clock,
            nodes=self.nodes,
            options=options,
            news=lambda node, info: self.news.append((node, info)),
        )
        self.backend: SimulatedBackend = simulated.create(self.settings)
        self.simulation = self.backend.simulation

    def send(self, name: OrderName, tag: str = "vm1", node: str = "n1", timeout: float = 10, **body: Any) -> "Outcome":
        return Outcome(self.backend.channel(node).send(Order(name, tag, body), timeout))

    def create(self, tag: str = "vm1", node: str = "n1", **more: Any) -> "Outcome":
        spec = VmSpec(tag=tag, name=tag, memory_mb=1, cpus=1, **more)
        return Outcome(self.backend.channel(node).send(Order(OrderName.CREATE, tag, encode(spec)), 10))


class Outcome:
    """What became of a coroutine so far."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.values: list[Any] = []
        self.errors: list[BaseException] = []
        self.deferred = Deferred.fromCoroutine(work)
        self.deferred.addCallbacks(self.values.append, lambda failure: self.errors.append(failure.value))

    @property
    def pending(self) -> bool:
        return not (self.values or self.errors)


def test_without_a_delay_an_order_is_done_at_once() -> None:
    site = Site()
    outcomes = []
    for number in range(256):
        outcomes += [site.create(f"vm{number}"), site.send(OrderName.START, f"vm{number}")]
    assert not any(outcome.pending or outcome.errors for outcome in outcomes)
    assert {info.status for info in site.simulation.vms().values()} == {VmStatus.RUNNING}
    assert site.clock.getDelayedCalls() == []


def test_an_order_takes_as_long_as_it_was_told_to() -> None:
    site = Site(delays={"start": 2.0})
    site.create()
    started = site.send(OrderName.START)
    site.clock.advance(1.9)
    assert started.pending
    site.clock.advance(0.2)
    assert started.values[0]["status"] == "running"


def test_the_most_exact_delay_counts() -> None:
    site = Site(delays={"start": 5.0})
    site.create()
    site.simulation.delay("start", 1.0, tag="vm1")
    started = site.send(OrderName.START)
    site.clock.advance(1.0)
    assert not started.pending


def test_orders_for_one_vm_are_done_one_after_the_other() -> None:
    site = Site(delays={"create": 3.0})
    created, destroyed = site.create(), site.send(OrderName.DESTROY)
    other = site.send(OrderName.LIST, "")
    assert destroyed.pending
    assert not other.pending
    site.clock.advance(3.0)
    assert created.values
    assert destroyed.values
    assert site.simulation.vms() == {}


def test_an_answer_that_is_late_is_a_transient_error_but_the_work_is_done() -> None:
    site = Site(delays={"start": 5.0})
    site.create()
    started = site.send(OrderName.START, timeout=1)
    site.clock.advance(1)
    assert isinstance(started.errors[0], TransientError)
    site.clock.advance(4)
    assert site.simulation.vms()["vm1"].status is VmStatus.RUNNING


def test_a_lost_answer() -> None:
    site = Site()
    site.simulation.lose_answer("create")
    created = site.create()
    site.clock.advance(10)
    assert isinstance(created.errors[0], TransientError)
    assert set(site.simulation.vms()) == {"vm1"}
    assert site.create().values


def test_failures_hit_as_often_and_where_they_were_told_to() -> None:
    site = Site(failures=[{"order": "create", "node": "n2", "kind": "exhausted", "message": "disk full", "times": 2}])
    assert site.create("a", "n1").values
    for _ in range(2):
        failed = site.create("b", "n2")
        assert isinstance(failed.errors[0], ExhaustedError)
        assert str(failed.errors[0]) == "disk full"
    assert set(site.simulation.vms()) == {"a"}
    assert site.create("b", "n2").values


def test_one_failure_for_one_vm() -> None:
    site = Site()
    site.simulation.fail_next("start", TransientError("no"), tag="b")
    site.create("a")
    site.create("b")
    assert site.send(OrderName.START, "a").values
    assert site.send(OrderName.START, "b").errors
    assert site.send(OrderName.START, "b").values


def test_a_silent_node_answers_nothing_and_tells_nothing() -> None:
    site = Site()
    site.create()
    site.simulation.silence("n1")
    info = site.send(OrderName.INFO, timeout=2)
    site.simulation.exit("vm1")
    site.clock.advance(2)
    assert isinstance(info.errors[0], TransientError)
    assert site.news == []
    site.simulation.speak("n1")
    assert site.send(OrderName.INFO).values[0]["status"] == "stopped"


def test_reconcile_waits_for_silent_nodes_all_at_once() -> None:
    site = Site(silent=["n1", "n2"], list_timeout=3.0)
    seen = Outcome(site.backend.reconcile([]))
    site.clock.advance(3.0)
    assert set(seen.values[0].silent) == {"n1", "n2"}


def test_news_of_what_no_order_did() -> None:
    site = Site()
    site.create()
    site.send(OrderName.START)
    site.simulation.exit("vm1", "power off")
    site.simulation.break_vm("vm1", "lost")
    assert [(node, info.status, info.reason) for node, info in site.news] == [
        ("n1", VmStatus.STOPPED, "power off"),
        ("n1", VmStatus.BROKEN, "lost"),
    ]


def test_a_guest_with_a_mark_becomes_ready_in_its_time() -> None:
    site = Site(ready_after=4.0)
    site.create("a", ready_mark="READY")
    site.create("b")
    site.send(OrderName.START, "a")
    site.send(OrderName.START, "b")
    site.clock.advance(3.9)
    assert site.news == []
    site.clock.advance(0.1)
    assert [(info.tag, info.ready) for _, info in site.news] == [("a", True)]


def test_a_guest_that_was_stopped_does_not_become_ready() -> None:
    site = Site(ready_after=4.0)
    site.create(ready_mark="READY")
    site.send(OrderName.START)
    site.send(OrderName.SHUTDOWN, seconds=0)
    site.clock.advance(5)
    assert site.news == []


def test_vms_outlive_the_back_end() -> None:
    site = Site()
    site.create()
    Outcome(site.backend.close())
    second = SimulatedBackend(site.settings, site.simulation)
    seen = Outcome(second.reconcile([]))
    assert [vm.tag for vm in seen.values[0].vms["n1"]] == ["vm1"]


def test_another_vm_of_the_same_tag_is_a_conflict() -> None:
    site = Site()
    site.create()
    assert isinstance(site.create(context="other").errors[0], ConflictError)


@pytest.mark.parametrize(
    "options",
    [
        {"delay": {}},
        {"placement": "best"},
        {"delays": {"launch": 1.0}},
        {"failures": [{"order": "create", "when": 1}]},
        {"queue": "yes"},
        {"grant_after": "soon"},
        {"max_members": True},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Site(**options)


# the queue


def request(memory: int = 1000, *members: str) -> Request:
    names = members or ("a", "b")
    demands = tuple(Demand(member=n, name=n, memory_mb=memory, cpus=1, disk_mb=1) for n in names)
    return Request(demands=demands, duration=60)


def full(site: Site) -> View:
    nodes = (NodeView(node=n, free_memory_mb=0, free_cpus=0, free_disk_mb=0) for n in site.nodes.values())
    return View(nodes=tuple(nodes))


def test_a_queue_takes_what_does_not_fit_now() -> None:
    site = Site(queue=True)
    assert isinstance(site.backend.admit(request(), full(site)), Queued)
    assert not isinstance(site.backend.admit(request(1001), full(site)), Queued)


def test_claims_are_granted_in_turn_when_there_is_room() -> None:
    site = Site(queue=True)
    first = Outcome(site.backend.acquire(Claim(key="1", request=request())))
    second = Outcome(site.backend.acquire(Claim(key="2", request=request())))
    third = Outcome(site.backend.acquire(Claim(key="3", request=request(1, "x"))))
    assert {grant.node.name for grant in first.values[0].values()} == {"n1", "n2"}
    assert second.pending
    assert third.pending
    Outcome(site.backend.release("1"))
    assert second.values
    assert third.pending
    Outcome(site.backend.release("2"))
    assert third.values


def test_a_grant_may_take_its_time_and_may_be_asked_for_twice() -> None:
    site = Site(queue=True, grant_after=5.0)
    claim = Claim(key="1", request=request())
    outcomes = [Outcome(site.backend.acquire(claim)) for _ in range(2)]
    site.clock.advance(4.9)
    assert all(outcome.pending for outcome in outcomes)
    site.clock.advance(0.2)
    assert outcomes[0].values == outcomes[1].values != []
    assert Outcome(site.backend.acquire(claim)).values == outcomes[0].values


def test_a_grant_by_hand() -> None:
    site = Site(queue=True, grant_after="never")
    waiting = Outcome(site.backend.acquire(Claim(key="1", request=request())))
    site.clock.advance(1e6)
    assert waiting.pending
    site.backend.grant("1")
    assert waiting.values


def test_a_claim_that_is_released_while_it_waits() -> None:
    site = Site(queue=True, grant_after="never")
    waiting = Outcome(site.backend.acquire(Claim(key="1", request=request())))
    Outcome(site.backend.release("1"))
    assert isinstance(waiting.errors[0], ConflictError)


def test_a_claim_granted_before_a_restart_keeps_its_nodes() -> None:
    site = Site(queue=True)
    nodes = {"a": "n2", "b": "n1"}
    held = Outcome(site.backend.acquire(Claim(key="1", request=request(), nodes=nodes)))
    assert [{member: grant.node.name for member, grant in held.values[0].items()}] == [nodes]
    assert Outcome(site.backend.acquire(Claim(key="2", request=request()))).pending


def test_a_claim_that_was_not_placed_is_invalid_without_a_queue() -> None:
    site = Site()
    assert isinstance(Outcome(site.backend.acquire(Claim(key="1", request=request()))).errors[0], InvalidError)


def test_a_small_claim_does_not_overtake_a_large_one() -> None:
    site = Site(queue=True)
    first = Outcome(site.backend.acquire(Claim(key="1", request=request(1000, "a"))))
    large = Outcome(site.backend.acquire(Claim(key="2", request=request())))
    small = Outcome(site.backend.acquire(Claim(key="3", request=request(1, "x"))))
    assert first.values
    assert large.pending
    assert small.pending

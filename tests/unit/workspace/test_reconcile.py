"""One reconcile pass for start-up and timer; news; strays; and that silence declares nobody dead."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import pytest
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import Order
from flyinglow.factory.model import Created
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode
from flyinglow.workspace import observe, reconcile
from flyinglow.workspace.lifecycle import record
from flyinglow.workspace.model import Topic
from flyinglow.workspace.observe import Finding
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import NEXT, State, Task
from flyinglow.workspace.steps import RECOVERY, Recovery
from rigs.site import MakeSite, Site, key_of, part, whole


def test_every_status_with_a_task_has_one_line_of_recovery() -> None:
    assert set(RECOVERY) == {status for status in NEXT if status.task is not None}
    assert all(line.why for line in RECOVERY.values())


@pytest.mark.parametrize("delayed", ["create", "start"])
def test_a_launch_goes_on_after_a_crash(make_site: MakeSite, delayed: str) -> None:
    site = make_site(options={"delays": {delayed: 5.0}})
    site.create(part("a"), part("b"))
    site.settle(1)
    assert all("/" in state for state in site.states().values())
    site.reboot()
    site.settle(10)
    assert site.states() == {"a": "Running", "b": "Running"}


def test_a_launch_that_was_only_committed_is_begun_at_start_up(site: Site) -> None:
    site.provisioner.stop()
    site.create()
    site.reboot()
    assert site.states() == {"vm": "Running"}


@pytest.mark.parametrize(("mode", "order", "state"), [
    (ShutdownMode.PAUSE, "pause", "Paused"),
    (ShutdownMode.NORMAL, "shutdown", "Propagated"),
    (ShutdownMode.REBOOT, "reboot", "Running"),
    (ShutdownMode.TRASH, "destroy", "Ended"),
])  # fmt: skip
def test_a_request_goes_on_after_a_crash(make_site: MakeSite, mode: ShutdownMode, order: str, state: str) -> None:
    site = make_site(options={"delays": {order: 5.0}})
    key = whole(site.create()).id
    site.settle()
    site.workspace.shutdown(LOCAL, key, mode)
    site.settle(1)
    sent = len(site.simulation.log)
    site.reboot()
    site.settle(10)
    assert site.states() == {"vm": state}
    again = {o.name for _, o in site.simulation.log[sent:]}
    assert (OrderName.REBOOT in again) is False
    if mode is ShutdownMode.REBOOT:
        assert OrderName.INFO in again
        assert [line.how for status, line in RECOVERY.items() if status.task == "Rebooting"] == [Recovery.OBSERVE]


def test_a_running_vm_that_is_gone_is_corrupted(site: Site) -> None:
    before = site.free()
    site.create(part("a"), part("b"))
    site.settle()
    site.simulation.lose(site.row("a").tag)
    report = site.run(site.provisioner.reconcile())
    assert report.changed == 1
    assert site.states() == {"a": "Corrupted", "b": "Running"}
    assert "is gone from node" in site.row("a").reason
    site.simulation.lose(site.row("b").tag)
    site.run(site.provisioner.reconcile())
    assert site.free() == before


def test_a_silent_node_declares_nobody_dead(site: Site) -> None:
    site.create()
    site.settle()
    node = site.row("vm").node or ""
    site.simulation.lose(site.row("vm").tag)
    site.simulation.silence(node)
    reports: list[object] = []
    Deferred.fromCoroutine(site.provisioner.reconcile()).addCallback(reports.append)
    site.settle(30)
    assert node in reports[0].silent  # type: ignore[attr-defined]
    assert site.states() == {"vm": "Running"}


def test_a_nodes_silence_is_logged_once_and_so_is_its_end(site: Site) -> None:
    site.create()
    site.settle()
    node = site.row("vm").node or ""
    site.simulation.silence(node)
    with capture_logs() as lines:
        for _ in range(2):
            Deferred.fromCoroutine(site.provisioner.reconcile())
            site.settle(30)
        site.simulation.speak(node)
        Deferred.fromCoroutine(site.provisioner.reconcile())
        site.settle(30)
    said = [(line["event"], line["node"]) for line in lines if "answer" in line["event"]]
    assert said == [("a node does not answer", node), ("a node answers again", node)]


def test_a_guest_that_turns_itself_off_is_seen(site: Site) -> None:
    created = site.create()
    site.settle()
    site.simulation.exit(site.row("vm").tag, "the guest powered off")
    site.settle()
    assert site.states() == {"vm": "Propagated"}
    assert site.told(whole(created))[-1].body["reason"] == "the guest powered off"
    site.workspace.start(LOCAL, whole(created).id)
    site.settle()
    assert site.states() == {"vm": "Running"}


def test_a_vm_that_breaks_is_corrupted_with_its_reason(site: Site) -> None:
    before = site.free()
    site.create()
    site.settle()
    site.simulation.break_vm(site.row("vm").tag, "qemu died of signal 9")
    site.settle()
    assert site.states() == {"vm": "Corrupted"}
    assert site.row("vm").reason == "qemu died of signal 9"
    assert site.free() == before


def test_ready_is_stamped_once_and_told(site: Site) -> None:
    created = site.create(part(image="guest"))
    site.settle()
    site.simulation.ready(site.row("vm").tag)
    site.settle()
    site.simulation.ready(site.row("vm").tag)
    site.settle()
    assert "ready" in site.row("vm").stamps
    told = [event.body for event in site.told(whole(created)) if event.body.get("ready")]
    assert [(body["state"], body["reason"]) for body in told] == [("Running", "ready")]


def test_a_pause_by_other_hands_is_followed(site: Site) -> None:
    created = site.create()
    site.settle()
    row = site.row("vm")
    order = Order(OrderName.PAUSE, row.tag)
    site.run(_send(site, row.node or "", order))
    site.run(site.provisioner.reconcile())
    assert site.states() == {"vm": "Paused"}
    assert [e.body["task"] for e in site.told(whole(created))][-2:] == ["Pausing", None]


def test_a_vm_without_a_row_is_destroyed_after_its_grace(site: Site) -> None:
    spec = VmSpec(tag="stray001", name="stray", memory_mb=10, cpus=1)
    site.run(_send(site, "node0", Order(OrderName.CREATE, "stray001", encode(spec))))
    site.create()
    site.settle()
    assert site.run(site.provisioner.reconcile()).reaped == 0
    (stranger,) = site.provisioner.strangers()
    assert (stranger["node"], stranger["tag"]) == ("node0", "stray001")
    assert 0 < stranger["ends_in"] <= site.timing.stray_grace
    site.settle(site.timing.stray_grace + 1)
    assert site.run(site.provisioner.reconcile()).reaped == 1
    assert site.provisioner.strangers() == []
    assert list(site.simulation.vms()) == [site.row("vm").tag]


def test_a_clean_up_that_fails_is_tried_again_and_holds_everything(site: Site) -> None:
    before = site.free()
    created = site.create()
    site.settle()
    site.simulation.fail_next("destroy", BrokenError("the tap is busy"), times=3)
    site.workspace.destroy(LOCAL, whole(created).id)
    site.settle()
    for attempts in (1, 2, 3):
        assert site.row("vm").attempts == attempts
        assert site.free() != before
        site.settle(site.timing.backoff(attempts))
    assert site.states() == {"vm": "Ended"}
    assert site.free() == before
    assert len(site.told(whole(created), Topic.TERMINATION)) == 1


def test_a_bad_row_does_not_stop_the_pass(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.create(part("a"), part("b"))
    site.settle()
    for name in ("a", "b"):
        site.simulation.lose(site.row(name).tag)
    bad = site.row("a").id
    honest = observe.write_down

    def write_down(tx: Tx, found: Finding, now: datetime) -> None:
        if found.workspace_id == bad:
            raise ZeroDivisionError
        honest(tx, found, now)

    monkeypatch.setattr(reconcile, "write_down", write_down)
    site.run(site.provisioner.reconcile())
    assert site.states() == {"a": "Running", "b": "Corrupted"}


def test_one_open_ensemble_is_not_launched_by_a_restart(site: Site) -> None:
    created = site.create(part("a"), open=True)
    site.reboot()
    assert site.states() == {"a": "Unpropagated/Queued"}
    site.ensemble.done(LOCAL, whole(created).id)
    site.settle()
    assert site.states() == {"a": "Running"}
    assert key_of(created, "a").id == site.row("a").id


async def _send(site: Site, node: str, order: Order) -> None:
    await site.backend.channel(node).send(order, 5)


def test_a_pass_does_not_hurry_what_waits_for_its_time(site: Site) -> None:
    created = site.create()
    site.settle()
    site.simulation.fail_next("destroy", BrokenError("the tap is busy"), times=1)
    site.workspace.destroy(LOCAL, whole(created).id)
    site.settle()
    site.run(site.provisioner.reconcile())
    assert site.row("vm").attempts == 1
    site.settle(site.timing.backoff(1))
    assert site.states() == {"vm": "Ended"}


def test_a_guest_is_told_the_same_after_a_crash_though_a_member_is_gone(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"create": 5.0}})
    created = site.create(part("a"), part("b"))
    site.settle(1)
    site.workspace.destroy(LOCAL, key_of(created, "a").id)
    site.settle(5)
    site.provisioner.stop()
    row = site.row("b")
    site.store.call(lambda tx: record(tx, row, state=State.UNPROPAGATED, task=Task.PROPAGATING))
    site.boot(site.simulation)
    site.run(site.provisioner.reconcile())
    site.settle(10)
    assert site.states() == {"a": "Ended", "b": "Running"}
    spec = site.simulation.spec(row.tag)
    assert spec is not None
    assert "member a " in spec.context


def test_news_is_written_down_in_the_order_in_which_it_came(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.create()
    site.settle()
    row = site.row("vm")
    honest, held = site.store.run, []

    def run(fn: Callable[[Tx], object]) -> Deferred[object]:
        """Stand for threads that take up what was given to them last before what was given first."""
        done: Deferred[object] = Deferred()
        held.append((fn, done))
        return done

    monkeypatch.setattr(site.store, "run", run)
    for status in (VmStatus.PAUSED, VmStatus.RUNNING):
        site.provisioner.news(row.node or "", VmInfo(row.tag, status))
        site.settle()
    while held:
        fn, done = held.pop()
        honest(fn).chainDeferred(done)
        site.settle()
    assert site.states() == {"vm": "Running"}
    site.run(site.provisioner.idle())


def test_strays_are_destroyed_at_once_and_hold_up_no_pass(site: Site) -> None:
    tags = [f"stray{at:03d}" for at in range(40)]
    for tag in tags:
        spec = VmSpec(tag=tag, name="stray", memory_mb=10, cpus=1)
        site.run(_send(site, "node0", Order(OrderName.CREATE, tag, encode(spec))))
    site.run(site.provisioner.reconcile())
    site.settle(site.timing.stray_grace + 1)
    site.simulation.delay("destroy", 10.0)
    assert site.run(site.provisioner.reconcile()).reaped == len(tags)
    assert site.run(site.provisioner.reconcile()).reaped == 0
    under_way = [order for _, order in site.simulation.log if order.name is OrderName.DESTROY]
    assert 1 < len(under_way) <= site.timing.per_node
    site.settle(10.0 * len(tags) / 2)
    assert not site.simulation.vms()
    assert len([order for _, order in site.simulation.log if order.name is OrderName.DESTROY]) == len(tags)
    site.run(site.provisioner.idle())


def test_a_stray_that_could_not_be_destroyed_is_tried_again_by_the_next_pass(site: Site) -> None:
    spec = VmSpec(tag="stray001", name="stray", memory_mb=10, cpus=1)
    site.run(_send(site, "node0", Order(OrderName.CREATE, "stray001", encode(spec))))
    site.run(site.provisioner.reconcile())
    site.settle(site.timing.stray_grace + 1)
    site.simulation.fail_next("destroy", BrokenError("the tap is busy"))
    assert site.run(site.provisioner.reconcile()).reaped == 1
    assert list(site.simulation.vms()) == ["stray001"]
    assert site.run(site.provisioner.reconcile()).reaped == 1
    assert not site.simulation.vms()


def _ready_told(site: Site, created: Created) -> int:
    return len([event for event in site.told(whole(created)) if event.body.get("ready")])


@pytest.mark.parametrize("way", ["reboot", "stop and start", "its own end and start"])
def test_ready_is_told_again_after_each_boot(make_site: MakeSite, way: str) -> None:
    site = make_site(options={"ready_after": 5.0})
    created = site.create(part(image="guest"))
    key = whole(created).id
    site.settle(6)
    assert _ready_told(site, created) == 1
    first = site.row("vm").stamps["ready"]
    match way:
        case "reboot":
            site.workspace.shutdown(LOCAL, key, ShutdownMode.REBOOT)
        case "stop and start":
            site.workspace.shutdown(LOCAL, key, ShutdownMode.NORMAL)
        case _:
            site.simulation.exit(site.row("vm").tag)
    site.settle(1)
    assert "ready" not in site.row("vm").stamps
    if way != "reboot":
        site.workspace.start(LOCAL, key)
    site.settle(6)
    assert site.states() == {"vm": "Running"}
    assert _ready_told(site, created) == 2
    assert site.row("vm").stamps["ready"] > first


def test_a_pause_leaves_a_guest_ready(site: Site) -> None:
    created = site.create(part(image="guest"))
    site.settle()
    for act in (partial(site.workspace.shutdown, mode=ShutdownMode.PAUSE), site.workspace.start):
        act(LOCAL, whole(created).id)
        site.settle()
        site.run(site.provisioner.reconcile())
        assert "ready" in site.row("vm").stamps
    assert _ready_told(site, created) == 1


def test_a_guest_that_is_ready_in_the_answer_to_its_start_is_told_ready(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = site.simulation.send

    async def send(node: str, order: Order, timeout: float) -> Mapping[str, object]:
        answer = await honest(node, order, timeout)
        return {**answer, "ready": True} if order.name in {OrderName.START, OrderName.REBOOT} else answer

    monkeypatch.setattr(site.simulation, "send", send)
    created = site.create()
    site.settle()
    assert _ready_told(site, created) == 1
    site.workspace.shutdown(LOCAL, whole(created).id, ShutdownMode.REBOOT)
    site.settle()
    assert _ready_told(site, created) == 2

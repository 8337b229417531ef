"""The end action Save: the guest goes down so long before the end that its disk can be sent, and what becomes of it."""

from datetime import timedelta
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.model import EndAction, Topic
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.terms import Terms
from rigs.site import START, MakeSite, Site, part, whole

PLACE = "https://store.example/mine/{name}.qcow2"
TERMS = Terms(save_rate=10.0, save_margin=50, save_retry=20, warn_before=30)
LEAD = 60  # of an image of 100 MB


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(terms=TERMS)


def lease(site: Site, *, duration: int = 300, **changes: Any) -> str:
    key = whole(site.create(duration=duration, end_action=EndAction.SAVE, save_uri=PLACE, **changes)).id
    site.settle()
    return key


def pass_time(site: Site, seconds: int, step: int = 1) -> None:
    """Let time pass with a sweep each ``step`` seconds."""
    for _ in range(0, seconds, step):
        site.settle(step)
        site.sweep()


def orders(site: Site, name: OrderName) -> list[object]:
    return [order.body for _, order in site.simulation.log if order.name is name]


def test_it_is_saved_in_time_and_the_lessee_is_told_when(site: Site) -> None:
    key = lease(site)
    row = site.workspace.get(LOCAL, key)
    assert (row.save_lead, row.saves_at) == (LEAD, START + timedelta(seconds=300 - LEAD))
    pass_time(site, 210 - 1)
    assert site.told(row.key, Topic.WARNING) == []
    pass_time(site, 1)
    (warning,) = site.told(row.key, Topic.WARNING)
    assert (warning.body["seconds"], warning.body["saves_at"]) == (90, row.saves_at.isoformat() if row.saves_at else "")
    pass_time(site, 29)
    assert site.states() == {"vm": "Running"}
    pass_time(site, 1)
    assert site.states() == {"vm": "TransportReady"}
    assert orders(site, OrderName.SAVE) == [{"target": "https://store.example/mine/vm.qcow2"}]
    assert "sweep.save" in site.committed
    pass_time(site, 60)
    row = site.workspace.get(LOCAL, key)
    assert (row.state, row.reason) == (State.ENDED, "the lease has ended; its disk was saved")
    (over,) = site.told(row.key, Topic.TERMINATION)
    assert over.body["reason"] == row.reason


@pytest.mark.parametrize("mode", [ShutdownMode.PAUSE, ShutdownMode.NORMAL])
def test_what_is_not_running_is_saved_too(site: Site, mode: ShutdownMode) -> None:
    key = lease(site)
    site.workspace.shutdown(LOCAL, key, mode)
    pass_time(site, 240, 60)
    assert site.states() == {"vm": "TransportReady"}


def test_a_moved_end_moves_the_time_that_is_booked(site: Site) -> None:
    key = lease(site)
    site.settle(100)
    with pytest.raises(InvalidError, match="takes 60 s: the earliest end is now 2030-01-01T12:02:40"):
        site.workspace.set_end(LOCAL, key, START + timedelta(seconds=159))
    site.workspace.set_end(LOCAL, key, START + timedelta(seconds=160))
    site.workspace.set_end(LOCAL, key, START + timedelta(seconds=500))
    row = site.workspace.get(LOCAL, key)
    told = site.told(row.key, Topic.SCHEDULE)[-1].body
    assert told["saves_at"] == (START + timedelta(seconds=440)).isoformat()
    pass_time(site, 339, 3)
    assert site.states() == {"vm": "Running"}
    pass_time(site, 1)
    assert site.states() == {"vm": "TransportReady"}
    site.workspace.set_end(LOCAL, key, START + timedelta(seconds=450))  # nothing is to be done any more


def test_what_fails_is_tried_again_and_lost_at_the_end_with_the_reason(site: Site) -> None:
    key = lease(site)
    site.simulation.fail_next("save", DeniedError("the store is full"), times=99)
    pass_time(site, 240, 10)
    assert site.row("vm").status == Status(State.PROPAGATED)
    assert site.row("vm").reason == "the store is full"
    pass_time(site, 59)
    assert len(orders(site, OrderName.SAVE)) == 3  # at once and after every save_retry
    pass_time(site, 2)
    row = site.workspace.get(LOCAL, key)
    words = "the lease has ended, and its disk was not saved and is lost: the store is full"
    assert (row.state, row.reason) == (State.ENDED, words)
    assert [event.body["reason"] for event in site.told(row.key, Topic.TERMINATION)] == [words]


def test_what_is_not_done_by_the_end_is_cut_short(make_site: MakeSite) -> None:
    site = make_site(terms=TERMS, options={"delays": {"save": 500.0}})
    key = lease(site)
    before = site.free()
    pass_time(site, 299, 13)
    assert site.row("vm").task is Task.SAVING
    assert orders(site, OrderName.DESTROY) == []
    pass_time(site, 2)
    row = site.workspace.get(LOCAL, key)
    assert row.task is Task.RECLAIMING
    assert "was not saved and is lost" in row.reason
    assert len(orders(site, OrderName.DESTROY)) == 1  # by which a node cuts short what it is sending
    site.settle(600)
    assert (site.workspace.get(LOCAL, key).state, site.free() != before) == (State.ENDED, True)


def test_a_disk_that_is_being_sent_does_not_keep_its_owner_from_destroying_it(make_site: MakeSite) -> None:
    site = make_site(terms=TERMS, options={"delays": {"save": 500.0}})
    key = lease(site)
    site.workspace.shutdown(LOCAL, key, ShutdownMode.SAVE, "https://x/y")
    site.settle(10)
    site.workspace.destroy(LOCAL, key)
    site.settle()
    assert len(orders(site, OrderName.DESTROY)) == 1


@pytest.mark.parametrize("delayed", ["shutdown", "save"])
def test_a_daemon_that_dies_meanwhile_goes_on(make_site: MakeSite, delayed: str) -> None:
    site = make_site(terms=TERMS, options={"delays": {delayed: 5.0}})
    lease(site)
    pass_time(site, 240, 10)
    assert site.row("vm").task is (Task.SAVING if delayed == "save" else Task.SHUTTING_DOWN)
    site.reboot()
    pass_time(site, 20)
    assert site.states() == {"vm": "TransportReady"}


def test_what_the_lessee_saved_elsewhere_does_not_change_where_the_end_saves_to(site: Site) -> None:
    key = lease(site)
    site.simulation.fail_next("save", DeniedError("not there"))
    site.workspace.shutdown(LOCAL, key, ShutdownMode.SAVE, "https://elsewhere.example/a")
    site.settle()
    pass_time(site, 240, 30)
    assert orders(site, OrderName.SAVE)[-1] == {"target": "https://store.example/mine/vm.qcow2"}


def test_places_that_are_taken_away_leave_no_time_and_the_lessee_is_told(site: Site) -> None:
    key = lease(site)
    row = site.workspace.get(LOCAL, key)
    site.provisioner.claims(
        ClaimNews(key=row.launch_set, topic=ClaimTopic.ENDING, reason="preempted by job 7", seconds=20.0)
    )
    site.settle()
    words = "preempted by job 7; its disk is not saved and is lost: 20 s are left, 60 s are needed"
    (warning,) = site.told(row.key, Topic.WARNING)
    assert warning.body["reason"] == words
    row = site.workspace.get(LOCAL, key)
    assert (row.state, row.reason) == (State.CANCELLED, words)


def test_members_are_saved_each_under_a_name_of_its_own(site: Site) -> None:
    created = site.create(part("a", 2), part("b"), duration=300, end_action=EndAction.SAVE, save_uri=PLACE)
    site.settle()
    pass_time(site, 240, 30)
    assert set(site.states().values()) == {"TransportReady"}
    places = {str(body["target"]) for body in orders(site, OrderName.SAVE) if isinstance(body, dict)}
    assert places == {f"https://store.example/mine/{name}.qcow2" for name in ("a-1", "a-2", "b")}
    assert len(created.resources) == 5


@pytest.mark.parametrize("several", [("a", 3), ("a", 1)])
def test_a_whole_is_saved_on_request_with_a_result_for_each(site: Site, several: tuple[str, int]) -> None:
    name, count = several
    created = site.create(part(name, count), part("b"))
    site.settle()
    key = whole(created).id
    with pytest.raises(InvalidError, match="under one name"):
        site.ensemble.shutdown(LOCAL, key, ShutdownMode.SAVE, "https://x/y")
    with pytest.raises(InvalidError, match="SaveTo is missing"):
        site.ensemble.shutdown(LOCAL, key, ShutdownMode.SAVE)
    site.workspace.shutdown(LOCAL, site.row("b").id, ShutdownMode.NORMAL)
    results = site.ensemble.shutdown(LOCAL, key, ShutdownMode.SAVE, "https://x/{tag}")
    assert [str(result.error) for result in results if result.error] == [str(results[-1].error)]  # b is going down
    site.settle()
    tags = {site.row(result.workspace.name).tag for result in results if not result.error}
    assert {str(b["target"]) for b in orders(site, OrderName.SAVE) if isinstance(b, dict)} == {
        f"https://x/{tag}" for tag in tags
    }

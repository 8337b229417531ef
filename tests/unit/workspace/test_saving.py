"""Shutdown by mode Save: the guest goes down, its disk is sent away, and the lessee is told where it is."""

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.states import State, Status, Task
from rigs.site import MakeSite, Site, part, whole

HERE, ELSEWHERE = "https://store.example/a.qcow2", "https://store.example/b.qcow2"


def save(site: Site, key: str, place: str | None = HERE) -> None:
    site.workspace.shutdown(LOCAL, key, ShutdownMode.SAVE, place)


@pytest.mark.parametrize("before", [None, ShutdownMode.PAUSE, ShutdownMode.NORMAL])
def test_it_goes_down_and_is_saved(site: Site, before: ShutdownMode | None) -> None:
    key = whole(site.create()).id
    site.settle()
    if before is not None:
        site.workspace.shutdown(LOCAL, key, before)
        site.settle()
    save(site, key)
    site.settle()
    row = site.workspace.get(LOCAL, key)
    assert (row.status, row.reason, row.save_uri) == (Status(State.TRANSPORT_READY), "saved", HERE)
    orders = [order for _, order in site.simulation.log if order.name is OrderName.SAVE]
    assert [order.body for order in orders] == [{"target": HERE}]
    site.run(site.provisioner.reconcile())
    assert site.states() == {"vm": "TransportReady"}
    save(site, key)
    with pytest.raises(ConflictError, match="shut down and saved"):
        site.workspace.start(LOCAL, key)
    before_end = site.free()
    site.workspace.destroy(LOCAL, key)
    site.settle()
    assert site.free() != before_end


def test_a_save_that_failed_leaves_its_disks_and_says_why(site: Site) -> None:
    key = whole(site.create()).id
    site.settle()
    site.simulation.fail_next("save", DeniedError("not there"), times=1)
    save(site, key)
    site.settle()
    row = site.workspace.get(LOCAL, key)
    assert (row.status, row.reason) == (Status(State.PROPAGATED), "not there")
    save(site, key, ELSEWHERE)
    site.settle()
    assert site.states() == {"vm": "TransportReady"}


@pytest.mark.parametrize("delayed", ["shutdown", "save"])
def test_it_goes_on_after_a_crash(make_site: MakeSite, delayed: str) -> None:
    site = make_site(options={"delays": {delayed: 5.0}})
    key = whole(site.create()).id
    site.settle()
    save(site, key)
    site.settle(1)
    assert site.row("vm").task is (Task.SAVING if delayed == "save" else Task.SHUTTING_DOWN)
    site.reboot()
    site.settle(20)
    assert site.states() == {"vm": "TransportReady"}


def test_what_is_shut_down_otherwise_or_saved_elsewhere_is_not_said_to_be_saved(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"shutdown": 5.0, "save": 5.0}})
    a, b = (whole(site.create(part(name), name=name)).id for name in ("a", "b"))
    site.settle()
    site.workspace.shutdown(LOCAL, a, ShutdownMode.NORMAL)
    save(site, b)
    site.settle(1)
    with pytest.raises(ConflictError, match="saved elsewhere"):
        save(site, a)
    save(site, b)
    with pytest.raises(ConflictError, match="saved elsewhere"):
        save(site, b, ELSEWHERE)
    site.settle(20)
    assert site.states() == {"a": "Propagated", "b": "TransportReady"}
    with pytest.raises(ConflictError, match="saved elsewhere"):
        save(site, b, ELSEWHERE)


@pytest.mark.parametrize("place", [None, "", "ftp://a/b", "https://a/../b", "scp://u:p@h/x", "store:../x"])
def test_a_place_that_is_none_is_refused(site: Site, place: str | None) -> None:
    key = whole(site.create()).id
    site.settle()
    with pytest.raises(InvalidError):
        save(site, key, place)
    assert site.states() == {"vm": "Running"}


def test_what_was_saved_is_kept(site: Site) -> None:
    key = whole(site.create()).id
    site.settle()
    save(site, key)
    site.settle()
    saved = site.workspace.get(LOCAL, key).saved
    assert saved == {"at": site.now().isoformat()}  # a simulated node says nothing of where it is


@pytest.mark.parametrize(
    "place", ["https://u:canary@h/x", "https://canary@h/x", "http://h/x?token=canary", "https://h/"]
)
def test_a_place_with_credentials_is_refused_without_showing_them(site: Site, place: str) -> None:
    key = whole(site.create()).id
    site.settle()
    with pytest.raises(InvalidError) as refused:
        save(site, key, place)
    assert "canary" not in str(refused.value)
    assert "canary" not in repr(site.workspace.get(LOCAL, key))

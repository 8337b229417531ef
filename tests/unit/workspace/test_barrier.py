"""The ready barrier: a launch set is Running when all its guests have said so, and fails with the first that cannot."""

import json
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import InvalidError, TransientError
from flyinglow.workspace.context_desk import Desk
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.model import Context, InitialState, Selection, Stamp
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.terms import Terms
from rigs.site import MakeSite, Site, key_of, part, whole

ENDPOINT = Endpoint(url="http://10.1.0.1:8482", key=b"k" * 32)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Give a site whose guests can report."""
    return make_site(endpoint=ENDPOINT, terms=Terms(reports=True))


def say(site: Site, name: str, **report: Any) -> int:
    """Let the guest of a member report; return the status of the answer."""
    desk = Desk(site.store, site.clock, site.now, site.committed.append)
    body = json.dumps({"status": "ok", **report}).encode()
    reply = site.run(desk.report(ENDPOINT.token(site.row(name).id), body))
    site.settle()
    return reply.status


def test_a_set_runs_when_the_last_guest_has_reported(site: Site) -> None:
    created = site.create(part("ce"), part("wn", 2), ready_within=300)
    site.settle()
    assert set(site.states().values()) == {"Propagated/Starting"}
    assert site.row("ce").reason == "waits for guests: 0 of 3"
    assert say(site, "ce") == 200
    assert say(site, "wn-2") == 200
    assert {row.reason for row in site.rows()} == {"waits for guests: 2 of 3"}
    assert say(site, "wn-1") == 200
    assert set(site.states().values()) == {"Running"}
    assert {row.reason for row in site.rows()} == {""}
    assert all(Stamp.READY in row.stamps for row in site.rows())
    told = [
        (e.body["state"], e.body["task"], e.body.get("guest", {}).get("status"))
        for e in site.told(key_of(created, "wn-2"))
    ]
    assert told[-3:] == [("Propagated", "Starting", None), ("Propagated", "Starting", "ok"), ("Running", None, None)]
    site.settle(301)
    assert set(site.states().values()) == {"Running"}


def test_an_error_fails_the_set_and_names_the_member_with_the_end_of_its_console(site: Site) -> None:
    before = site.free()
    site.create(part("ce"), part("wn", 2), ready_within=300)
    site.settle()
    row = site.row("wn-1")
    lines = "".join(f"line {at}\n" for at in range(3000))
    site.simulation.say(row.tag, f"{lines}\x1b[2J\x07bell {ENDPOINT.token(row.id)}\r\nlast\n".encode())
    say(site, "ce")
    say(site, "wn-1", status="error", message="no route\nto ce")
    assert set(site.states().values()) == {"Corrupted"}
    (reason,) = {row.reason for row in site.rows()}
    assert reason.startswith("member wn-1: its guest reported an error: no route\\nto ce; its console ends: ")
    tail = reason.partition("its console ends: ")[2].split(" | ")
    assert tail[-3:] == ["line 2999", "\\x1b[2J\\x07bell ***", "last"]
    assert len(tail) == 10
    assert site.free() == before


def test_silence_past_the_deadline_fails_the_set(site: Site) -> None:
    site.create(part("ce"), part("se"), ready_within=300)
    site.settle()
    say(site, "se")
    site.settle(299)
    assert set(site.states().values()) == {"Propagated/Starting"}
    site.settle(1)
    assert set(site.states().values()) == {"Corrupted"}
    assert site.row("se").reason == (
        "member ce: its guest did not say within 300 s that it is ready; its console ends: [simulated] ce starts"
    )


def test_a_console_that_cannot_be_had_is_no_hindrance(site: Site) -> None:
    site.create(part("ce"), ready_within=300)
    site.settle()
    site.simulation.fail_next("console", TransientError("the wire is cut"))
    say(site, "ce", status="error")
    assert site.row("ce").reason.endswith("an error: without a word; its console ends: (the wire is cut)")


def test_a_mark_is_enough_for_an_image_that_has_nothing_else(make_site: MakeSite) -> None:
    site = make_site(options={"ready_after": 1000.0})
    site.create(part("ce", image="guest"), part("se", image="guest"), ready_within=300)
    site.settle()
    site.simulation.ready(site.row("ce").tag)
    site.settle()
    assert site.row("se").reason == "waits for guests: 1 of 2"
    site.simulation.ready(site.row("se").tag)
    site.settle()
    assert set(site.states().values()) == {"Running"}


def test_a_member_that_its_owner_destroys_is_waited_for_no_longer(site: Site) -> None:
    created = site.create(part("ce"), part("se"), ready_within=300)
    site.settle()
    say(site, "ce")
    site.workspace.destroy(LOCAL, key_of(created, "se").id)
    site.settle()
    assert site.states() == {"ce": "Running", "se": "Ended"}


def test_a_guest_that_turns_itself_off_fails_the_set(site: Site) -> None:
    site.create(part("ce"), part("se"), ready_within=300)
    site.settle()
    site.simulation.exit(site.row("se").tag)
    site.settle()
    assert set(site.states().values()) == {"Corrupted"}
    assert site.row("ce").reason == "member se: the guest turned itself off"


def test_a_lost_vm_is_found_by_a_reconcile_pass_and_fails_the_set(site: Site) -> None:
    site.create(part("ce"), part("se"), ready_within=300)
    site.settle()
    site.simulation.lose(site.row("se").tag)
    site.run(site.provisioner.reconcile())
    assert set(site.states().values()) == {"Corrupted"}
    assert site.row("ce").reason.startswith("member se: its VM is gone from node")


def test_a_restart_counts_anew(make_site: MakeSite) -> None:
    site = make_site(options={"ready_after": 1000.0})
    site.create(part("ce", image="guest"), part("se", image="guest"), ready_within=300)
    site.settle()
    site.simulation.ready(site.row("ce").tag)
    site.settle()
    site.provisioner.stop()
    site.simulation.ready(site.row("se").tag)  # nobody hears it
    assert set(site.states().values()) == {"Propagated/Starting"}
    site.reboot()
    assert set(site.states().values()) == {"Running"}


def test_the_deadline_outlives_a_restart(site: Site) -> None:
    site.create(part("ce"), ready_within=300)
    site.settle(200)
    site.reboot()
    site.settle(99)
    assert site.states() == {"ce": "Propagated/Starting"}
    site.settle(1)
    assert site.states() == {"ce": "Corrupted"}


def test_a_later_start_waits_for_nobody(site: Site) -> None:
    created = site.create(part("ce"), ready_within=300)
    site.settle()
    say(site, "ce")
    site.workspace.shutdown(LOCAL, whole(created).id, ShutdownMode.NORMAL)
    site.settle(60)
    assert site.states() == {"ce": "Propagated"}
    assert Stamp.READY not in site.row("ce").stamps
    site.workspace.start(LOCAL, whole(created).id)
    site.settle()
    assert site.states() == {"ce": "Running"}


def test_without_a_barrier_a_report_only_tells(site: Site) -> None:
    created = site.create(part("ce"))
    site.settle()
    assert say(site, "ce", status="error", message="oh") == 200
    assert site.states() == {"ce": "Running"}
    last = site.told(whole(created))[-1].body
    assert (last["state"], last["guest"]["status"], last["guest"]["message"]) == ("Running", "error", "oh")
    report = site.workspace.guest(LOCAL, whole(created).id)
    assert report is not None
    assert report.message == "oh"
    count = len(site.events)
    assert say(site, "ce", status="error", message="oh") == 200
    assert len(site.events) == count, "the same again is no news"


def test_places_that_go_away_take_the_whole_waiting_set(make_site: MakeSite) -> None:
    site = make_site(options={"queue": True, "take_after": 50.0}, endpoint=ENDPOINT, terms=Terms(reports=True))
    site.create(part("ce"), part("se"), ready_within=300)
    site.settle(60)
    assert set(site.states().values()) == {"Cancelled"}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"ready_within": 0}, "more than 0 s"),
        ({"ready_within": 4000}, "no longer than the lease lasts"),
        ({"ready_within": 60, "initial_state": "Paused"}, "initial state Running"),
    ],
)
def test_a_barrier_that_cannot_open_is_refused(site: Site, changes: dict[str, Any], wrong: str) -> None:
    if "initial_state" in changes:
        changes = {**changes, "initial_state": InitialState(changes["initial_state"])}
    with pytest.raises(InvalidError, match=wrong):
        site.create(part("ce"), **changes)


def test_a_barrier_that_nobody_could_pass_is_refused(make_site: MakeSite) -> None:
    site = make_site()
    with pytest.raises(InvalidError, match="part ce: nobody would say that its guests are ready"):
        site.create(part("ce", image="plain"), ready_within=60)


def test_a_role_that_nobody_provides_is_refused(site: Site) -> None:
    needs = Context(requires=("compute-element",))
    with pytest.raises(InvalidError, match="part wn requires the role 'compute-element', which no part provides"):
        site.create(part("ce"), part("wn", 2, context=needs))
    assert site.rows() == []
    site.create(part("ce", context=Context(provides=("compute-element",))), part("wn", 2, context=needs))


def test_roles_of_an_open_ensemble_are_judged_when_it_is_done(site: Site) -> None:
    opened = site.create(part("wn", context=Context(requires=("compute-element",))), open=True)
    ensemble = whole(opened).id
    with pytest.raises(InvalidError, match="part wn requires the role 'compute-element'"):
        site.ensemble.done(LOCAL, ensemble)
    site.create(part("ce", context=Context(provides=("compute-element",))), join=ensemble)
    site.ensemble.done(LOCAL, ensemble)
    site.settle()
    assert set(site.states().values()) == {"Running"}


def test_forgotten_workspaces_leave_no_tokens(site: Site) -> None:
    created = site.create(part("ce"), ready_within=300)
    site.settle()
    say(site, "ce")
    row = site.row("ce")
    site.workspace.destroy(LOCAL, whole(created).id)
    site.settle(site.terms.retain + 1)
    site.sweep()
    assert site.rows() == []
    assert site.store.view(lambda tx: (tx.guests.reports([row.id]), tx.workspaces.select(Selection()))) == ({}, [])

"""The only place that writes a state: legal steps, compare-and-set, the event in the same transaction."""

from functools import partial
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.nodectl.errors import BrokenError, ConflictError
from flyinglow.workspace.context_desk import Desk
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.lifecycle import STEPS, advance, reclaim
from flyinglow.workspace.model import EndAction, Topic, Workspace
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.ports import StaleError
from flyinglow.workspace.states import NEXT, State, Status, Task
from flyinglow.workspace.terms import Terms
from rigs.site import START, MakeSite, Site, part

ENDPOINT = Endpoint(url="http://10.1.0.1:8482", key=b"k" * 32)


def _advance(row: Workspace, status: Status, tx: Any) -> Workspace:
    return advance(tx, row, status, now=START)


def test_an_illegal_step_is_a_bug_and_writes_nothing(site: Site) -> None:
    site.provisioner.stop()
    site.create()
    row, told = site.row("vm"), len(site.events)
    for status in NEXT:
        if status not in NEXT[row.status]:
            with pytest.raises(BrokenError, match="cannot go from"):
                site.store.call(partial(_advance, row, status))
    assert site.row("vm") == row
    assert len(site.events) == told


def test_an_older_row_cannot_be_advanced(site: Site) -> None:
    site.provisioner.stop()
    site.create()
    old = site.row("vm")
    new = Status(State.UNPROPAGATED, Task.PROPAGATING)
    site.store.call(lambda tx: advance(tx, old, new, now=site.now(), target=State.RUNNING))
    with pytest.raises(StaleError):
        site.store.call(lambda tx: reclaim(tx, old, State.ENDED, now=site.now()))


def test_the_first_reason_wins(site: Site) -> None:
    site.provisioner.stop()
    site.create()

    first = site.row("vm")

    def act(tx: Any) -> None:
        row = reclaim(tx, first, State.CORRUPTED, now=site.now(), reason="it failed")
        reclaim(tx, row, State.ENDED, now=site.now(), reason="destroyed", destroyed_at=site.now())

    site.store.call(act)
    row = site.row("vm")
    assert (row.target, row.reason) == (State.CORRUPTED, "it failed")
    assert row.destroyed_at is not None
    site.reboot()
    row = site.row("vm")
    assert (row.state, row.reason) == (State.CORRUPTED, "it failed")
    (told,) = site.told(row.key, Topic.TERMINATION)
    assert told.body["reason"] == "it failed"


def test_every_step_is_registered_and_committed(make_site: MakeSite) -> None:
    site = make_site(endpoint=ENDPOINT, terms=Terms(reports=True))
    site.create(part("a"), duration=400)
    site.create(part("saved"), duration=400, end_action=EndAction.SAVE, save_uri="https://store.example/{name}")
    site.settle()
    site.simulation.fail_next("pause", ConflictError("no"))
    site.workspace.shutdown(LOCAL, site.row("a").id, ShutdownMode.PAUSE)
    site.settle()
    site.simulation.exit(site.row("a").tag)
    site.settle(250)  # past half of the lease: it is warned of
    site.sweep()
    site.settle(35)  # its disk has 100 MB
    site.sweep()
    site.simulation.fail_next("destroy", BrokenError("no"))
    site.settle(265)
    site.sweep()
    site.simulation.fail_next("create", BrokenError("no"))
    site.create(part("b"))
    site.create(part("c"), open=True)
    site.settle(10)
    site.drain()
    for seconds in (site.terms.open_limit, site.terms.retain, site.terms.keep_events):
        site.settle(seconds)
        site.sweep()
    for topic in ClaimTopic:
        site.provisioner.claims(ClaimNews(key="no such claim", topic=topic, reason=""))
    site.settle()
    site.create(part("passes", image="guest"), ready_within=50)
    site.create(part("reports"), part("silent"), ready_within=50)
    site.settle(1)
    desk = Desk(site.store, site.clock, site.now, site.committed.append)
    site.run(desk.report(ENDPOINT.token(site.row("reports").id), b'{"status": "ok"}'))
    site.settle(50)
    assert set(site.committed) == set(STEPS)

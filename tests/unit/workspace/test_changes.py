"""Changing a lease that one has: its name, and what becomes of the disks at the end (the real services and store)."""

from datetime import timedelta
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.nodectl.errors import ConflictError, InvalidError, UnknownError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.changes import Change, Changes
from flyinglow.workspace.model import EndAction, Topic
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.terms import Terms
from rigs.site import CATALOGUE, START, MakeSite, Site, key_of, part, whole

PLACE = "https://store.example/mine/{name}.qcow2"
TERMS = Terms(save_rate=10.0, save_margin=50, save_retry=20, warn_before=30)
LEAD = 60  # of an image of 100 MB
SAVE = Change(end_action=EndAction.SAVE, save_to=PLACE)
TRASH = Change(end_action=EndAction.TRASH)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(terms=TERMS)


@pytest.fixture
def changes(site: Site) -> Changes:
    return Changes(site.store, site.now, TERMS, CATALOGUE)


def lease(site: Site, **changes: Any) -> str:
    key = whole(site.create(duration=300, **changes)).id
    site.settle()
    return key


def find(site: Site, caller: Identity, key: str) -> Any:
    return lambda tx: site.group.find_to_change(tx, caller, key)


def test_a_workspace_takes_another_name(site: Site, changes: Changes) -> None:
    key = lease(site)
    changes.workspace(LOCAL, key, Change(name="front"))
    assert site.workspace.get(LOCAL, key).name == "front"
    changes.workspace(LOCAL, key, Change(name="front"))
    site.workspace.shutdown(LOCAL, key, ShutdownMode.PAUSE)
    assert site.told(site.workspace.get(LOCAL, key).key)[-1].body["name"] == "front"


@pytest.mark.parametrize("name", ["", "Front", "a_b", "-a", "a-", "a" * 41, "a\n", "ä", "../x"])
def test_a_name_that_is_none_is_refused(site: Site, changes: Changes, name: str) -> None:
    key = lease(site)
    with pytest.raises(InvalidError):
        changes.workspace(LOCAL, key, Change(name=name))
    assert site.workspace.get(LOCAL, key).name == "vm"


def test_names_stay_unique_among_members(site: Site, changes: Changes) -> None:
    created = site.create(part("ce"), part("worker", 2))
    one = key_of(created, "worker-1").id
    for taken in ("worker-2", "ce"):
        with pytest.raises(ConflictError, match="unique"):
            changes.workspace(LOCAL, one, Change(name=taken))
    changes.workspace(LOCAL, one, Change(name="first"))
    assert {row.name for row in site.rows()} == {"ce", "first", "worker-2"}


def test_a_lease_that_was_to_be_thrown_away_is_saved_in_time(site: Site, changes: Changes) -> None:
    key = lease(site)
    changes.workspace(LOCAL, key, SAVE)
    row = site.workspace.get(LOCAL, key)
    assert (row.end_action, row.save_lead, row.end_uri) == (EndAction.SAVE, LEAD, PLACE.replace("{name}", "vm"))
    assert row.saves_at == START + timedelta(seconds=300 - LEAD)
    (told,) = [event for event in site.told(row.key, Topic.SCHEDULE) if "saves_at" in event.body]
    assert told.body["saves_at"] == row.saves_at.isoformat()
    changes.workspace(LOCAL, key, SAVE)  # nothing new, so nothing is told
    assert len([event for event in site.told(row.key, Topic.SCHEDULE) if "saves_at" in event.body]) == 1
    for _ in range(300 - LEAD + 1):
        site.settle(1)
        site.sweep()
    assert site.states() == {"vm": "TransportReady"}
    assert [order.body for _, order in site.simulation.log if order.name is OrderName.SAVE] == [{"target": row.end_uri}]


def test_a_lease_that_was_to_be_saved_is_thrown_away(site: Site, changes: Changes) -> None:
    key = lease(site, end_action=EndAction.SAVE, save_uri=PLACE)
    changes.workspace(LOCAL, key, TRASH)
    row = site.workspace.get(LOCAL, key)
    assert (row.end_action, row.save_lead, row.end_uri, row.saves_at) == (EndAction.TRASH, 0, None, None)
    for _ in range(302):
        site.settle(1)
        site.sweep()
    assert [order for _, order in site.simulation.log if order.name is OrderName.SAVE] == []
    assert site.states() == {"vm": "Ended"}


def test_the_place_can_be_changed(site: Site, changes: Changes) -> None:
    key = lease(site, end_action=EndAction.SAVE, save_uri=PLACE)
    changes.workspace(LOCAL, key, Change(end_action=EndAction.SAVE, save_to="https://other.example/{tag}"))
    row = site.workspace.get(LOCAL, key)
    assert row.end_uri == f"https://other.example/{row.tag}"


@pytest.mark.parametrize(
    "change",
    [
        Change(end_action=EndAction.SAVE),
        Change(end_action=EndAction.SAVE, save_to="https://store.example/{secret}"),
        Change(end_action=EndAction.SAVE, save_to="https://ann:pw@store.example/a"),
        Change(end_action=EndAction.TRASH, save_to=PLACE),
    ],
)
def test_an_end_that_cannot_be_is_refused(site: Site, changes: Changes, change: Change) -> None:
    key = lease(site)
    before = site.workspace.get(LOCAL, key)
    with pytest.raises(InvalidError):
        changes.workspace(LOCAL, key, change)
    assert site.workspace.get(LOCAL, key) == before


def test_saving_is_not_booked_when_too_little_is_left(site: Site, changes: Changes) -> None:
    key = lease(site)
    site.settle(300 - LEAD)
    with pytest.raises(InvalidError, match="takes 60 s") as refused:
        changes.workspace(LOCAL, key, SAVE)
    assert refused.value.figures == {"duration.left": LEAD, "duration.saving": LEAD}


def test_nothing_is_changed_while_the_disk_is_saved_or_when_all_is_over(site: Site, changes: Changes) -> None:
    key = lease(site)
    site.workspace.shutdown(LOCAL, key, ShutdownMode.SAVE, "https://store.example/a")
    with pytest.raises(ConflictError, match="being saved"):
        changes.workspace(LOCAL, key, SAVE)
    site.settle()
    site.workspace.shutdown(LOCAL, key, ShutdownMode.TRASH)
    with pytest.raises(ConflictError, match="is over"):
        changes.workspace(LOCAL, key, SAVE)
    site.settle()
    with pytest.raises(ConflictError, match="is over"):
        changes.workspace(LOCAL, key, TRASH)


def test_a_group_ends_alike_and_every_member_has_a_place_of_its_own(site: Site, changes: Changes) -> None:
    created = site.create(part("worker", 3), duration=300)
    site.settle()
    key = whole(created).id
    changes.collection(find(site, LOCAL, key), Change(name="night", end_action=EndAction.SAVE, save_to=PLACE))
    assert site.group.get(LOCAL, key).row.name == "night"
    assert sorted(row.end_uri or "" for row in site.rows()) == [
        PLACE.replace("{name}", f"worker-{at}") for at in (1, 2, 3)
    ]
    with pytest.raises(InvalidError, match="several"):
        one = Change(end_action=EndAction.SAVE, save_to="https://store.example/a")
        changes.collection(find(site, LOCAL, key), one)


def test_a_group_changes_as_a_whole_or_not_at_all(site: Site, changes: Changes) -> None:
    created = site.create(part("worker", 2), duration=300)
    site.settle()
    site.workspace.shutdown(LOCAL, key_of(created, "worker-2").id, ShutdownMode.SAVE, "https://store.example/a")
    with pytest.raises(ConflictError):
        changes.collection(find(site, LOCAL, whole(created).id), Change(name="night", end_action=EndAction.TRASH))
    with pytest.raises(ConflictError):
        changes.collection(find(site, LOCAL, whole(created).id), SAVE)
    assert site.group.get(LOCAL, whole(created).id).row.name == "whole"
    assert {row.end_action for row in site.rows()} == {EndAction.TRASH}


def test_another_persons_is_unknown(site: Site, changes: Changes) -> None:
    created = site.create(part("worker", 2))
    with pytest.raises(UnknownError):
        changes.workspace(Identity("eve"), key_of(created, "worker-1").id, Change(name="mine"))
    with pytest.raises(UnknownError):
        changes.collection(find(site, Identity("eve"), whole(created).id), Change(name="mine"))

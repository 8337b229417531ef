"""An ensemble to which another joined machines: what its shares and its owner's acts reach, and what not."""

from datetime import timedelta

import pytest

from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.access.shares import Grantee, Level
from flyinglow.group.sharing import SharingService
from flyinglow.nodectl.errors import DeniedError, UnknownError
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.workspace.changes import Change, Changes
from flyinglow.workspace.model import EndAction, ResourceKey, Topic
from flyinglow.workspace.outcomes import ShutdownMode
from rigs.site import CATALOGUE, Site, key_of, part, subscriptions

BOB, CAROL = Identity("bob"), Identity("carol")


@pytest.fixture
def sharing(site: Site) -> SharingService:
    return SharingService(site.store, site.now)


@pytest.fixture
def farm(site: Site, sharing: SharingService) -> ResourceKey:
    """Lease an open ensemble with one machine, to which bob joined a group of two; carol holds a share of all of it."""
    whole = key_of(site.create(part("ce"), name="farm", open=True), "farm")
    for friend in (BOB, CAROL):
        sharing.delegate(LOCAL, whole, Grantee(friend.name), Level.FULL)
    site.create(part("worker", 2), name="workers", join=whole.id, caller=BOB)
    return whole


def done(site: Site, farm: ResourceKey) -> None:
    """Launch it."""
    site.ensemble.done(LOCAL, farm.id)
    site.settle()


def test_shares_of_the_ensemble_do_not_reach_what_another_joined(site: Site, farm: ResourceKey) -> None:
    his = site.row("worker-1")
    for caller in (CAROL, LOCAL):
        with pytest.raises(UnknownError):
            site.workspace.destroy(caller, his.id)
        with pytest.raises(UnknownError):
            site.workspace.get(caller, his.id)
        with pytest.raises(UnknownError):
            site.group.get(caller, his.group_id or "")
    assert site.workspace.get(BOB, his.id).owner == "bob"
    assert site.workspace.get(CAROL, site.row("ce").id).owner == "local"


def test_a_fan_out_leaves_alone_what_another_joined_and_says_so(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    for caller in (LOCAL, CAROL):
        results = {r.workspace.name: r.error for r in site.ensemble.shutdown(caller, farm.id, ShutdownMode.PAUSE)}
        assert results["ce"] is None
        assert isinstance(results["worker-1"], DeniedError)
        assert isinstance(results["worker-2"], DeniedError)
    site.settle()
    assert site.states() == {"ce": "Paused", "worker-1": "Running", "worker-2": "Running"}
    saved = site.ensemble.shutdown(CAROL, farm.id, ShutdownMode.SAVE, "file:///tmp/{name}.img")
    assert [r.error is None for r in saved if r.workspace.owner == "bob"] == [False, False]


def test_what_its_owner_shares_is_reached(site: Site, sharing: SharingService, farm: ResourceKey) -> None:
    done(site, farm)
    his = site.row("worker-1")
    sharing.delegate(BOB, his.key, Grantee("carol"), Level.FULL)
    results = {r.workspace.name: r.error for r in site.ensemble.shutdown(CAROL, farm.id, ShutdownMode.PAUSE)}
    assert results["worker-1"] is None
    assert isinstance(results["worker-2"], DeniedError)


def test_destroying_the_ensemble_lets_what_another_joined_go_on(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    site.ensemble.destroy(CAROL, farm.id)
    site.settle()
    assert site.states() == {"ce": "Ended", "worker-1": "Running", "worker-2": "Running"}
    site.drain()
    assert [event.topic for event in site.events if event.key == farm][-1] is Topic.TERMINATION
    group = site.row("worker-1").group_id or ""
    site.group.destroy(BOB, group)
    site.settle()
    assert set(site.states().values()) == {"Ended"}
    site.settle(site.terms.retain + 100)
    site.sweep()
    assert site.rows() == []
    assert site.store.view(lambda tx: tx.collections.get(farm)) is None


def test_an_ensemble_destroyed_before_it_is_done_ends_what_waits_for_it(site: Site, farm: ResourceKey) -> None:
    free = site.free()
    site.ensemble.destroy(LOCAL, farm.id)
    site.settle()
    assert set(site.states().values()) == {"Ended"}
    his = site.workspace.get(BOB, site.row("worker-1").id)
    assert his.reason == "the ensemble was destroyed before it was done"
    assert site.free() != free


def test_who_joined_destroys_his_own_with_the_ensemble(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    site.ensemble.destroy(BOB, farm.id)
    site.settle()
    assert set(site.states().values()) == {"Ended"}


def test_an_administrator_reaches_all(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    site.ensemble.destroy(OPERATOR, farm.id)
    site.settle()
    assert set(site.states().values()) == {"Ended"}


def test_an_end_is_moved_of_what_is_the_callers_only(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    before = site.row("worker-1").ends_at
    later = site.now() + timedelta(hours=3)
    site.ensemble.set_end(LOCAL, farm.id, later)
    assert (site.row("ce").ends_at, site.row("worker-1").ends_at) == (later, before)
    site.workspace.destroy(LOCAL, site.row("ce").id)
    site.settle()
    with pytest.raises(DeniedError, match="joined by others"):
        site.ensemble.set_end(LOCAL, farm.id, later)


def test_a_change_of_the_ensemble_changes_what_is_the_callers_only(site: Site, farm: ResourceKey) -> None:
    done(site, farm)
    changes = Changes(site.store, site.now, site.terms, CATALOGUE)
    asked = Change(name="meadow", end_action=EndAction.SAVE, save_to="file:///tmp/{name}.img")
    before = site.row("worker-1").end_action
    changes.collection(lambda tx: site.ensemble.find_to_change(tx, LOCAL, farm.id), asked)
    assert (site.row("ce").end_action, site.row("worker-1").end_action) == (EndAction.SAVE, before)


def test_a_revoked_share_ends_no_subscription_to_what_another_joined(
    site: Site, sharing: SharingService, farm: ResourceKey
) -> None:
    his = site.row("worker-1").key
    sharing.delegate(BOB, his, Grantee("carol"), Level.READ)
    book = subscriptions(site.store, site.now, site._new_id)
    asked = SubscribeRequest(consumer="http://127.0.0.1:9000/")
    kept, lost = (book.subscribe(CAROL, key, asked) for key in (his, farm))
    sharing.revoke(LOCAL, farm, Grantee("carol"))
    assert site.store.view(lambda tx: tx.subscriptions.get(kept.id)) is not None
    assert site.store.view(lambda tx: tx.subscriptions.get(lost.id)) is None


def test_a_grantee_sees_his_own_share_only(site: Site, sharing: SharingService, farm: ResourceKey) -> None:
    sharing.delegate(LOCAL, farm, Grantee("atlas", is_group=True), Level.READ)
    names = {
        who.name: [share.grantee.name for share in sharing.shares(who, farm)]
        for who in (LOCAL, CAROL, Identity("dave", groups=frozenset({"atlas"})), Identity("eve", observer=True))
    }
    everybody = ["bob", "carol", "atlas"]
    assert names == {"local": everybody, "carol": ["carol"], "dave": ["atlas"], "eve": everybody}

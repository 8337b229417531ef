"""Sharing: who may do what with what is another's, until it is taken back."""

from datetime import timedelta

import pytest

from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.access.shares import Grantee, Level
from flyinglow.group.sharing import MOST, SharingService
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError, UnknownError
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.workspace.model import Kind, ResourceKey
from rigs.site import Site, key_of, part, subscriptions

BOB, EVE = Identity("bob"), Identity("eve", groups=frozenset({"cms"}))
ATLAS = Identity("dave", groups=frozenset({"atlas"}))
GROUP = Grantee("atlas", is_group=True)


@pytest.fixture
def sharing(site: Site) -> SharingService:
    return SharingService(site.store, site.now)


def farm(site: Site) -> tuple[ResourceKey, ResourceKey]:
    """Lease two workspaces; return the group and its first member."""
    made = site.create(part("vm", 2), name="farm")
    site.settle()
    return key_of(made, "farm"), key_of(made, "vm-1")


def test_a_reader_reads_and_is_told_that_he_may_not_do_more(site: Site, sharing: SharingService) -> None:
    group, vm = farm(site)
    for caller in (BOB, ATLAS):
        with pytest.raises(UnknownError):
            site.workspace.get(caller, vm.id)
    sharing.delegate(LOCAL, group, Grantee("bob"), Level.READ)
    sharing.delegate(LOCAL, group, GROUP, Level.READ)
    for caller in (BOB, ATLAS):
        assert site.workspace.get(caller, vm.id).name == "vm-1"
        assert site.group.get(caller, group.id).row.name == "farm"
        for act in (
            lambda who=caller: site.workspace.destroy(who, vm.id),
            lambda who=caller: site.group.destroy(who, group.id),
            lambda who=caller: site.workspace.console(who, vm.id),
            lambda who=caller: sharing.delegate(who, vm, Grantee("eve"), Level.READ),
        ):
            with pytest.raises(DeniedError, match="what belongs to another"):
                act()
    with pytest.raises(UnknownError):
        site.workspace.get(EVE, vm.id)


def test_a_holder_does_all_but_share_it_on(site: Site, sharing: SharingService) -> None:
    group, vm = farm(site)
    sharing.delegate(LOCAL, group, Grantee("bob"), Level.FULL)
    site.group.set_end(BOB, group.id, site.now() + timedelta(hours=2))
    with pytest.raises(DeniedError):
        sharing.delegate(BOB, group, Grantee("eve"), Level.READ)
    with pytest.raises(DeniedError):
        sharing.revoke(BOB, group, Grantee("bob"))
    site.workspace.destroy(BOB, vm.id)
    site.group.destroy(BOB, group.id)
    with pytest.raises(UnknownError):
        site.group.get(LOCAL, group.id)


def test_a_share_of_one_workspace_shows_nothing_of_the_others(site: Site, sharing: SharingService) -> None:
    group, vm = farm(site)
    sharing.delegate(LOCAL, vm, Grantee("bob"), Level.FULL)
    assert site.workspace.get(BOB, vm.id).name == "vm-1"
    with pytest.raises(UnknownError):
        site.group.get(BOB, group.id)
    assert [share.grantee.name for share in sharing.shares(LOCAL, vm)] == ["bob"]
    assert sharing.shares(LOCAL, group) == []


def test_what_is_revoked_is_over_with_its_subscriptions(site: Site, sharing: SharingService) -> None:
    group, vm = farm(site)
    service = subscriptions(site.store, site.now, site._new_id)
    for grantee in (Grantee("bob"), Grantee("carol"), GROUP):
        sharing.delegate(LOCAL, group, grantee, Level.READ)
    asked = SubscribeRequest(consumer="http://127.0.0.1:9000/")
    made = {caller.name: service.subscribe(caller, vm, asked).id for caller in (LOCAL, BOB, Identity("carol"), ATLAS)}

    def left() -> set[str]:
        rows = site.store.view(lambda tx: tx.subscriptions.of([vm]))
        return {name for name, id_ in made.items() if id_ in {row.id for row in rows}}

    sharing.revoke(LOCAL, group, Grantee("bob"))
    assert left() == {"local", "carol", "dave"}
    with pytest.raises(UnknownError):
        site.workspace.get(BOB, vm.id)
    sharing.revoke(OPERATOR, group, GROUP)
    assert left() == {"local", "carol"}
    with pytest.raises(ConflictError, match="not shared with them"):
        sharing.revoke(LOCAL, group, GROUP)


def test_who_joined_with_a_machine_of_his_own_keeps_what_he_is_told_of_it(site: Site, sharing: SharingService) -> None:
    whole = key_of(site.create(part("ce"), name="farm", open=True), "farm")
    sharing.delegate(LOCAL, whole, Grantee("bob"), Level.FULL)
    joined = site.create(part("worker"), name="worker", join=whole.id, caller=BOB)
    his = key_of(joined, "worker")
    book = subscriptions(site.store, site.now, site._new_id)
    kept, lost = (book.subscribe(BOB, key, SubscribeRequest(consumer="http://127.0.0.1:9000/")) for key in (his, whole))
    sharing.revoke(LOCAL, whole, Grantee("bob"))
    assert site.store.view(lambda tx: tx.subscriptions.get(kept.id)) is not None
    assert site.store.view(lambda tx: tx.subscriptions.get(lost.id)) is None


def test_sharing_has_its_bounds(site: Site, sharing: SharingService) -> None:
    group, _ = farm(site)
    with pytest.raises(InvalidError):
        sharing.delegate(LOCAL, group, Grantee("local"), Level.READ)
    with pytest.raises(UnknownError):
        sharing.delegate(LOCAL, ResourceKey(Kind.GROUP, "0" * 32), Grantee("bob"), Level.READ)
    for at in range(MOST):
        sharing.delegate(LOCAL, group, Grantee(f"b{at}"), Level.READ)
    sharing.delegate(LOCAL, group, Grantee("b1"), Level.FULL)
    with pytest.raises(ConflictError, match=str(MOST)):
        sharing.delegate(LOCAL, group, Grantee("one more"), Level.READ)


def test_shares_go_with_what_they_are_of(site: Site, sharing: SharingService) -> None:
    group, vm = farm(site)
    sharing.delegate(LOCAL, group, Grantee("bob"), Level.READ)
    sharing.delegate(LOCAL, vm, Grantee("bob"), Level.READ)
    site.group.destroy(LOCAL, group.id)
    site.settle(site.terms.retain + 100)
    site.sweep()
    assert site.store.view(lambda tx: tx.shares.of([group.id, vm.id])) == []

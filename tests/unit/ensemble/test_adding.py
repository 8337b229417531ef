"""Adding a workspace that stands alone to an ensemble (WS-ServiceGroup 1.2, section 6.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.access.shares import Grantee, Level
from flyinglow.group.sharing import SharingService
from flyinglow.nodectl.errors import ConflictError, DeniedError, UnknownError
from flyinglow.workspace.model import ResourceKey, Topic
from rigs.site import Site, key_of, part

BOB = Identity("bob")


@pytest.fixture
def farm(site: Site) -> ResourceKey:
    """Lease an ensemble of two that runs."""
    made = site.create(part("ce"), part("se"), name="farm")
    site.settle()
    return key_of(made, "farm")


def alone(site: Site, name: str = "extra", caller: Identity = LOCAL) -> str:
    """Lease a workspace by itself."""
    made = site.create(part(name), name=name, caller=caller)
    site.settle()
    return key_of(made, name).id


def test_it_is_a_member_from_then_on(site: Site, farm: ResourceKey) -> None:
    extra = alone(site)
    end = site.row("extra").ends_at
    assert site.ensemble.add(LOCAL, farm.id, extra).ensemble_id == farm.id
    assert [row.name for row in site.ensemble.get(LOCAL, farm.id).members] == ["ce", "extra", "se"]
    assert site.row("extra").ends_at == end
    (told,) = site.told(farm, Topic.MEMBERSHIP)
    assert (told.body["change"], told.body["member"]) == ("added", extra)
    site.ensemble.set_end(LOCAL, farm.id, site.now() + timedelta(hours=3))
    assert site.row("extra").ends_at == site.row("ce").ends_at
    site.ensemble.destroy(LOCAL, farm.id)
    site.settle()
    assert set(site.states().values()) == {"Ended"}
    with pytest.raises(UnknownError):
        site.workspace.get(LOCAL, extra)


def test_what_is_no_workspace_of_ones_own_that_stands_alone_is_refused(site: Site, farm: ResourceKey) -> None:
    refused = {
        site.row("ce").id: "a member of another whole",
        "f" * 32: "no such workspace",
        alone(site, "his", BOB): "no such workspace",
        alone(site, "ce"): "a member called ce already",
    }
    for member, reason in refused.items():
        with pytest.raises(ConflictError, match=reason):
            site.ensemble.add(LOCAL, farm.id, member)


def test_what_is_over_is_not_added_nor_added_to(site: Site, farm: ResourceKey) -> None:
    gone = alone(site, "gone")
    site.settle(site.row("gone").duration + 10)
    site.sweep()
    assert site.states()["gone"] == "Ended"
    with pytest.raises(ConflictError, match="the lease of workspace gone is over"):
        site.ensemble.add(LOCAL, farm.id, gone)
    with pytest.raises(ConflictError, match="ensemble farm is over"):
        site.ensemble.add(LOCAL, farm.id, alone(site))


def test_an_ensemble_that_is_not_done_is_added_to_by_create(site: Site) -> None:
    whole = key_of(site.create(part("ce"), name="farm", open=True), "farm")
    with pytest.raises(ConflictError, match="by Create"):
        site.ensemble.add(LOCAL, whole.id, alone(site))


def test_who_may_not_add_to_the_ensemble_is_told_so(site: Site, farm: ResourceKey) -> None:
    his = alone(site, "his", BOB)
    with pytest.raises(UnknownError):
        site.ensemble.add(BOB, farm.id, his)
    sharing = SharingService(site.store, site.now)
    sharing.delegate(LOCAL, farm, Grantee("bob"), Level.READ)
    with pytest.raises(DeniedError):
        site.ensemble.add(BOB, farm.id, his)
    sharing.delegate(LOCAL, farm, Grantee("bob"), Level.FULL)
    with pytest.raises(ConflictError, match="another's"):
        site.ensemble.add(BOB, farm.id, his)


def test_two_of_one_name_are_not_added_at_once(site: Site, farm: ResourceKey) -> None:
    first, second = alone(site), alone(site)
    site.ensemble.add(LOCAL, farm.id, first)
    with pytest.raises(ConflictError, match="called extra already"):
        site.ensemble.add(LOCAL, farm.id, second)

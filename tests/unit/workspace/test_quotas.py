"""Quotas over a real store: what is held and was used counts, extensions too, and what is given back early does not."""

from datetime import timedelta

import pytest

from flyinglow.access.identity import OPERATOR, Identity
from flyinglow.access.policy import Period, Policy, PolicyBook
from flyinglow.factory.model import Valid
from flyinglow.factory.service import FactoryService
from flyinglow.group.service import GroupService
from flyinglow.nodectl.errors import DeniedError
from flyinglow.workspace.quotas import Quotas
from flyinglow.workspace.service import WorkspaceService
from rigs.site import CATALOGUE, Site, part, request, subscriptions

ALICE = Identity("alice", groups=frozenset({"atlas"}))
HOUR = 3600


class Limited:
    """A site's services with a policy for atlas."""

    def __init__(self, site: Site, **words: object) -> None:
        self.site = site
        policy = Policy(**{"names": ("atlas",), **words})  # type: ignore[arg-type]
        book = PolicyBook(policies={"atlas": policy}, groups={"atlas": frozenset({"atlas"})}, identities={})
        quotas = Quotas(site.now, book)
        self.factory = FactoryService(
            site.store, site.backend, now=site.now, terms=site.terms, catalogue=CATALOGUE, new_id=site._new_id,
            new_tag=lambda: f"t{next(site._ids):07d}", quotas=quotas,
            subscriptions=subscriptions(site.store, site.now, site._new_id),
        )  # fmt: skip
        self.workspace = WorkspaceService(site.store, site.now, site.terms, site.backend, quotas)
        self.group = GroupService(site.store, site.now, site.terms, site.backend, quotas)

    def create(self, count: int = 1, caller: Identity = ALICE, duration: int = HOUR) -> str:
        made = self.factory.create(caller, request(part("vm", count), duration=duration))
        return made.resources[0][1].id

    def used(self) -> tuple[int, int, int]:
        standing = self.factory.standing(ALICE)
        assert standing is not None
        return standing.use.running, standing.use.used, standing.use.reserved


def test_what_is_held_counts_until_it_was_given_back(site: Site) -> None:
    limited = Limited(site, running=3, minutes=200)
    limited.create(2)
    assert limited.used() == (2, 0, 2 * HOUR)
    with pytest.raises(DeniedError) as caught:
        limited.create(2)
    assert caught.value.figures == {"running.limit": 3, "running.used": 2, "running.asked": 2}
    limited.create(1)
    site.settle(600)
    assert limited.used() == (3, 1800, 3 * 3000)


def test_minutes_given_back_early_are_free_again_and_those_used_are_not(site: Site) -> None:
    limited = Limited(site, minutes=90, period=Period.DAY)
    vm = limited.create()
    site.settle(600)
    with pytest.raises(DeniedError, match=r"10 are used and 50 reserved, 60 more"):
        limited.create(duration=HOUR)
    limited.workspace.destroy(ALICE, vm)
    site.settle()
    assert limited.used() == (0, 600, 0)
    limited.create(duration=4800)
    with pytest.raises(DeniedError) as caught:
        limited.create(duration=60)
    assert caught.value.figures == {
        "minutes.limit": 90, "minutes.used": 10, "minutes.reserved": 80, "minutes.asked": 1,
    }  # fmt: skip


def test_a_new_period_begins_with_nothing_used(site: Site) -> None:
    limited = Limited(site, minutes=60, period=Period.DAY)
    limited.workspace.destroy(ALICE, limited.create(duration=HOUR))
    site.settle(13 * HOUR)
    assert limited.used() == (0, 0, 0)
    limited.create(duration=HOUR)


def test_an_extension_counts_for_whoever_owns_the_lease(site: Site) -> None:
    limited = Limited(site, minutes=130)
    group = limited.create(2)
    site.settle()
    end = site.now() + timedelta(hours=1)
    limited.group.set_end(ALICE, group, end + timedelta(minutes=5))
    assert limited.used()[2] == 2 * (HOUR + 300)
    with pytest.raises(DeniedError) as caught:
        limited.group.set_end(ALICE, group, end + timedelta(minutes=6))
    assert caught.value.figures["minutes.asked"] == 2
    limited.group.set_end(ALICE, group, end - timedelta(minutes=20))
    assert limited.used()[2] == 2 * (HOUR - 1200)
    limited.group.set_end(OPERATOR, group, end + timedelta(hours=2))


def test_validate_tells_what_create_would(site: Site) -> None:
    limited = Limited(site, members=1, networks=("private",), images=("plain",), offers=("standard",))
    assert isinstance(limited.factory.validate(ALICE, request()), Valid)
    for asked, said in (
        (request(part("vm", 2)), "1 workspaces in a request"),
        (request(part(networks=("public",))), "does not allow public"),
        (request(part(image="guest")), "does not allow guest"),
        (request(preemptable=True), "does not allow preemptable"),
    ):
        for verb in (limited.factory.validate, limited.factory.estimate, limited.factory.create):
            with pytest.raises(DeniedError, match=said):
                verb(ALICE, asked)


def test_who_has_no_policy_leases_nothing_and_the_operator_anything(site: Site) -> None:
    limited = Limited(site)
    with pytest.raises(DeniedError, match="policy none"):
        limited.create(caller=Identity("eve"))
    limited.create(caller=OPERATOR)
    assert limited.factory.standing(OPERATOR) is None


def test_a_day_is_kept_as_long_as_any_period_needs_it(site: Site) -> None:
    limited = Limited(site)
    limited.workspace.destroy(ALICE, limited.create())
    site.settle(60)
    site.sweep()
    assert site.store.view(lambda tx: tx.accounts.spent("alice", 0)) >= 0
    site.settle(63 * 86400)
    site.sweep()
    assert site.store.view(lambda tx: tx.accounts.spent("alice", 0)) == 0

"""The normal life of a claim: asked for, queued, granted, given back."""

from flyinglow.backend.api import ClaimTopic
from rigs.lrm_site import NOON, Site, known


def test_a_claim_is_granted_when_every_pilot_is_ready() -> None:
    site = Site()
    grants = site.acquire(members=3)
    assert set(grants) == {"k1-0", "k1-1", "k1-2"}
    [job] = site.jobs
    assert len(site.submits) == 1
    names = sorted(grant.node.name for grant in grants.values())
    assert names == [f"{job.tag}.{rank}@n{rank + 1}" for rank in range(3)]
    grant = grants["k1-0"]
    assert grant.node.networks == {"public": "br0"}
    assert NOON <= grant.stamps["scheduled"] <= grant.stamps["launched"] <= grant.stamps["adapted"]
    assert site.states() == (["Started"], ["Ready"] * 3)


def test_asking_again_gives_the_same_places_and_asks_for_no_other_job() -> None:
    site = Site()
    first = site.acquire()
    assert site.acquire() == first
    assert len(site.submits) == 1


def test_what_is_released_is_given_back_by_the_pilots_themselves_and_ends_in_the_scheduler() -> None:
    site = Site()
    site.acquire()
    site.result(site.backend.release("k1"))
    site.until(lambda: site.states() == (["Ended"], ["Released"] * 2))
    assert site.cancels == []
    assert site.told(ClaimTopic.LOST) == []
    site.run(300)
    mirror = site.backend._desk.mirror
    assert (mirror.jobs, mirror.slots, mirror.uses, mirror._ranks) == ({}, {}, {}, {})
    assert (site.backend._bulletin._told, site.backend._heard, site.backend._extended) == ({}, {}, set())
    assert (site.backend._claims._entries, site.backend._watch.jobs.refusals) == ({}, {})


def test_a_claim_waits_behind_another_and_its_reason_and_estimate_are_told_once() -> None:
    site = Site(nodes=2)
    site.acquire("k1", 2, duration=600)
    waiting = site.spawn(site.backend.acquire(site.claim("k2", 1)))
    site.run(70)
    assert not waiting
    news = [one for one in site.told(ClaimTopic.WAITING) if one.key == "k2"]
    assert "Resources" in news[-1].reason
    assert 500 < known(news[-1].starts_in) < 760
    site.run(200)
    assert [one for one in site.told(ClaimTopic.WAITING) if one.key == "k2"] == news
    site.result(site.backend.release("k1"))
    assert site.until(lambda: waiting)

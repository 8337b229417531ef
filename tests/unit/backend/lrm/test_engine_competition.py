"""Claims that compete for the last nodes, and slots that are kept, shared, asked for ahead, held for longer."""

import re
from dataclasses import replace

import pytest

from flyinglow.backend.api import Claim, ClaimTopic
from flyinglow.backend.lrm.api import JobRequest, Rehearsal
from flyinglow.backend.lrm.claims.free import Figures, holdings
from flyinglow.backend.lrm.claims.holding import Holding, back_off, giving_way
from flyinglow.backend.lrm.mirror import Written
from flyinglow.backend.lrm.model import Assignment, Component, PilotJob, Slot
from flyinglow.backend.lrm.policy.api import Sizes
from flyinglow.backend.lrm.states import JobState, SlotState
from flyinglow.nodectl.errors import DeniedError, TransientError, UnknownError
from rigs.lrm_site import NOON, Site, known


def one_job_for_each_size(site: Site) -> None:
    site.lrm.splits = lambda components: tuple((one,) for one in components)  # type: ignore[method-assign]


def lose_a_submit(site: Site, number: int) -> None:
    submit, count = site.lrm.submit, iter(range(1, 100))

    async def lossy(job: JobRequest) -> str:
        if next(count) == number:
            raise TransientError("it did not answer in time")
        return await submit(job)

    site.lrm.submit = lossy  # type: ignore[method-assign]


def two_sizes(site: Site, key: str) -> Claim:
    claim = site.claim(key, 2, duration=100_000)
    small, large = claim.request.demands
    demands = (small, replace(large, memory_mb=3000))
    return replace(claim, request=replace(claim.request, demands=demands))


def hold(claim: str, age: float, ready: int, missing: int, held: float) -> Holding:
    return Holding(claim=claim, age=age, ready=ready, missing=missing, held=held)


def test_the_oldest_keeps_what_it_holds_and_the_younger_gives_way_at_the_limit() -> None:
    old, young = hold("old", 100, 1, 1, 90), hold("young", 50, 1, 1, 40)
    assert giving_way([old, young], 60) == []
    assert giving_way([old, young], 40) == ["young"]
    assert giving_way([young], 40) == []
    assert giving_way([old], 40) == []
    assert giving_way([old, hold("young", 50, 0, 2, 0)], 0) == []
    assert giving_way([hold("done", 100, 2, 0, 90), young], 40) == []
    assert giving_way([old, young, hold("youngest", 20, 3, 1, 41)], 40) == ["youngest", "young"]


def test_whoever_gave_way_waits_longer_each_time() -> None:
    assert [back_off(times) for times in (1, 2, 3, 99)] == [30.0, 60.0, 120.0, 600.0]


def test_two_claims_that_starve_each_other_the_older_starts_and_the_younger_queues_again() -> None:
    site = Site(nodes=2, options={"hold_limit": 60.0, "poll": 10.0})
    one_job_for_each_size(site)
    lose_a_submit(site, 2)
    older = site.spawn(site.backend.acquire(two_sizes(site, "older")))
    site.run(0.25)
    younger = site.spawn(site.backend.acquire(two_sizes(site, "younger")))
    site.run(50)
    assert [[slot.state.value for slot in site.slots if slot.job == job.tag] for job in site.jobs] == [
        ["Ready"],
        ["Unbound"],
        ["Ready"],
        ["Unbound"],
    ]
    site.until(lambda: older, 100)
    assert len(older[0]) == 2
    assert not younger
    assert any("gave its nodes back to an older request" in news.reason for news in site.told(ClaimTopic.WAITING))
    assert site.told(ClaimTopic.LOST) == []
    site.result(site.backend.release("older"))
    assert len(site.until(lambda: younger, 900)[0]) == 2


def test_claims_of_one_size_each_are_one_job_and_never_starve_each_other() -> None:
    site = Site(nodes=3)
    site.acquire("k1", 2)
    waiting = site.spawn(site.backend.acquire(site.claim("k2", 2)))
    site.run(400)
    assert not waiting
    assert [len(one.components) for one in site.submits] == [1, 1]
    site.result(site.backend.release("k1"))
    assert site.until(lambda: waiting)


def test_a_claim_of_two_sizes_is_one_job_where_the_scheduler_can_and_wastes_no_node() -> None:
    site = Site()
    grants = site.result(site.backend.acquire(two_sizes(site, "k1")))
    [asked] = site.submits
    assert sorted((one.nodes, one.memory_mb) for one in asked.components) == [(1, 660), (1, 3160)]
    assert grants["k1-0"].node.memory_mb == 660
    assert grants["k1-1"].node.memory_mb == 3160


def test_an_extension_within_the_time_held_needs_no_scheduler() -> None:
    site = Site()
    site.acquire(duration=600)
    held = site.result(site.backend.extend("k1", 620))
    assert 620 <= held <= 690


def test_a_longer_extension_is_refused_with_the_longest_possible() -> None:
    site = Site()
    site.acquire(duration=600)
    with pytest.raises(DeniedError) as caught:
        site.result(site.backend.extend("k1", 3600))
    assert 680 <= caught.value.figures["longest"] <= 690
    assert re.search(r"The longest possible is 11m\d+s from now", caught.value.message)
    with pytest.raises(UnknownError):
        site.result(site.backend.extend("nobody", 1))


def test_where_the_site_lets_our_user_raise_limits_pilots_are_told_their_new_end() -> None:
    site = Site(options={"extend": "operator"})
    site.lrm.trouble.grants_extension = True
    site.acquire(duration=600)
    assert site.result(site.backend.extend("k1", 3600)) >= 3600 - 1
    site.run(1)
    assert all(pilot.deadline - site.clock.seconds() > 3590 for pilot in site.pilots)
    site.run(3500)
    assert site.states() == (["Started"], ["Ready"] * 2)


def test_where_the_scheduler_refuses_to_raise_a_limit_the_longest_possible_is_told() -> None:
    site = Site(options={"extend": "operator"})
    site.acquire(duration=600)
    with pytest.raises(DeniedError, match="operator") as caught:
        site.result(site.backend.extend("k1", 3600))
    assert caught.value.figures["longest"] > 600


def test_a_slot_that_is_kept_warm_serves_the_next_claim_without_a_job() -> None:
    site = Site(options={"policy": "keep_warm", "policy_options": {"seconds": 300}, "poll": 10.0})
    site.acquire("k1", 2, duration=600)
    site.result(site.backend.release("k1"))
    site.run(20)
    assert site.states()[1] == ["Ready"] * 2
    begun = site.clock.seconds()
    grants = site.acquire("k2", 2, duration=300)
    assert site.clock.seconds() - begun < 1
    assert len(site.submits) == 1
    assert {grant.node.name.partition(".")[0] for grant in grants.values()} == {site.jobs[0].tag}
    site.result(site.backend.release("k2"))
    site.until(lambda: site.jobs[0].state is JobState.ENDED, 600)


def test_slots_are_held_ready_ahead_of_need() -> None:
    options = {"policy": "proactive", "policy_options": {"slots": 2, "memory_mb": 500, "seconds": 3600}, "poll": 10.0}
    site = Site(options=options)
    site.until(lambda: site.states()[1].count("Ready") == 2)
    begun = site.clock.seconds()
    site.acquire("k1", 1, duration=300)
    assert site.clock.seconds() - begun < 1
    site.until(lambda: site.states()[1].count("Ready") == 3)


def test_several_vms_are_packed_onto_one_slot() -> None:
    site = Site(options={"policy": "packing"})
    site.acquire("k1", 4)
    assert [len(one.components) for one in site.submits] == [1]
    assert site.submits[0].nodes == 1


def test_a_free_slot_that_aged_while_others_were_waited_for_is_not_given_out() -> None:
    policy = {"policy": "keep_warm", "policy_options": {"seconds": 5000, "patience": 10}}
    site = Site(nodes=3, options={**policy, "poll": 10.0})
    site.acquire("k1", 1, duration=1000)
    site.acquire("k2", 2, duration=800)
    site.result(site.backend.release("k1"))
    waiting = site.spawn(site.backend.acquire(site.claim("k3", 2, duration=800)))  # one is free, one has to wait
    site.run(700)
    assert not waiting
    site.lrm.end("2", "CANCELLED")
    site.result(site.backend.release("k2"))
    grants = site.until(lambda: waiting, 200)[0]
    used = [site.ledger.rows.slot_rows[grant.node.name.partition("@")[0]] for grant in grants.values()]
    assert all((known(slot.deadline) - site.now()).total_seconds() >= 800 for slot in used)


@pytest.mark.parametrize("waited", [700, 2000])
def test_a_free_slot_that_would_end_under_a_claim_that_waits_is_replaced(waited: int) -> None:
    policy = {"policy": "keep_warm", "policy_options": {"seconds": 5000, "patience": 10}}
    site = Site(nodes=3, options={**policy, "poll": 10.0})
    site.acquire("k1", 1, duration=1000)
    site.acquire("k2", 2, duration=20_000)
    site.result(site.backend.release("k1"))
    waiting = site.spawn(site.backend.acquire(site.claim("k3", 2, duration=800)))  # one is free, one has to wait
    site.run(20)
    asked = {job.tag for job in site.jobs if job.claim == "k3"}
    assert len(asked) == 1
    site.run(waited)  # the one that was free is over by the later time
    assert not waiting
    site.lrm.end("2", "CANCELLED")
    site.result(site.backend.release("k2"))
    grants = site.until(lambda: waiting, 200)[0]
    used = [site.ledger.rows.slot_rows[grant.node.name.partition("@")[0]] for grant in grants.values()]
    assert all((known(slot.deadline) - site.now()).total_seconds() >= 800 for slot in used)
    if waited < 1000:  # the one that waited in the queue kept its place there
        assert asked < {slot.job for slot in used}


def test_a_job_asked_for_ahead_of_need_counts_as_free_only_when_all_of_it_is_ready() -> None:
    job = PilotJob(
        tag="j",
        claim="",
        components=(Component(nodes=2, memory_mb=660, cpus=1),),
        seconds=720,
        secret="00",
        requested_at=NOON,
        state=JobState.STARTED,
    )
    ready = Slot(job="j", rank=0, memory_mb=660, cpus=1, state=SlotState.READY)
    other = replace(ready, rank=1, state=SlotState.BOUND)
    sizes = Sizes(vm_overhead_mb=96, slot_overhead_mb=64, margin=120)
    figures = Figures(sizes=sizes, now=NOON, idle={"j.0": 7.0})
    arriving = holdings(Written(jobs=(job,), slots=(ready, other)), figures)
    assert arriving.free == ()
    assert arriving.coming == job.components
    up = holdings(Written(jobs=(job,), slots=(ready, replace(other, state=SlotState.READY))), figures)
    assert [(slot.slot, slot.memory_mb, slot.idle) for slot in up.free] == [("j.0", 596, 7.0), ("j.1", 596, 0.0)]
    assert up.coming == ()
    use = Assignment(claim="k", member="m", slot="j.0", memory_mb=500, cpus=1)
    used = holdings(Written(jobs=(job,), slots=(ready, other), claims={"k": (use,)}), figures)
    assert [(slot.slot, slot.memory_mb, slot.cpus, slot.claims, slot.idle) for slot in used.free] == [
        ("j.0", 0, 0, 1, 0.0)
    ]


def test_a_job_that_is_being_taken_away_has_nothing_to_give() -> None:
    job = PilotJob(
        tag="j",
        claim="",
        components=(Component(nodes=2, memory_mb=660, cpus=1),),
        seconds=720,
        secret="00",
        requested_at=NOON,
        state=JobState.STARTED,
    )
    ready = Slot(job="j", rank=0, memory_mb=660, cpus=1, state=SlotState.READY)
    signalled = replace(ready, rank=1, state=SlotState.PREEMPTING)
    figures = Figures(sizes=Sizes(vm_overhead_mb=96, slot_overhead_mb=64, margin=120), now=NOON, idle={})
    use = Assignment(claim="k", member="m", slot="j.0", memory_mb=200, cpus=0)
    assert holdings(Written(jobs=(job,), slots=(ready, signalled), claims={"k": (use,)}), figures).free == ()


def test_a_rehearsal_asks_for_the_jobs_that_would_be_handed_over() -> None:
    site, asked = Site(), []
    one_job_for_each_size(site)
    rehearse, submit = site.lrm.rehearse, site.lrm.submit

    async def rehearsed(job: JobRequest) -> Rehearsal:
        asked.append((job.components, job.seconds))
        return await rehearse(job)

    async def submitted(job: JobRequest) -> str:
        asked.remove((job.components, job.seconds))
        return await submit(job)

    site.lrm.rehearse, site.lrm.submit = rehearsed, submitted  # type: ignore[method-assign]
    claim = two_sizes(site, "k1")
    site.result(site.backend.rehearse(claim.request))
    assert len(asked) == 2
    site.spawn(site.backend.acquire(claim))
    site.until(lambda: not asked)

"""A scheduler that is away, forgets to answer, forgets jobs, starts them anew; and what must never be done about it."""

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.api import ClaimTopic
from flyinglow.backend.lrm.api import JobRequest
from flyinglow.backend.lrm.states import JobState, LrmSays, SlotState
from flyinglow.pilot.messages import Kind
from rigs.lrm_site import Site


def test_a_scheduler_that_is_down_for_an_hour_loses_nothing_and_the_claim_is_granted_afterwards() -> None:
    site = Site()
    site.acquire("k1", 1)
    site.lrm.trouble.down = True
    waiting = site.spawn(site.backend.acquire(site.claim("k2", 1)))
    site.run(500)
    assert not waiting
    assert "does not answer" in site.told(ClaimTopic.WAITING)[-1].reason
    assert site.told(ClaimTopic.LOST) == []
    assert len(site.submits) == 2
    site.run(3100)
    site.lrm.trouble.down = False
    assert site.until(lambda: waiting, 200)
    assert len(site.submits) == 3


def test_a_submit_that_timed_out_but_was_accepted_is_found_by_its_name_and_not_submitted_again() -> None:
    site = Site()
    site.lrm.trouble.forgets_to_answer = True
    grants = site.acquire()
    assert len(grants) == 2
    site.run(31)  # the next listing in its turn
    assert site.jobs[0].lrm_id == "1"
    site.run(300)
    assert len(site.submits) == 1


def test_a_submit_that_timed_out_and_got_lost_is_submitted_again_after_two_full_listings() -> None:
    site = Site(options={"poll": 10.0})
    site.lrm.trouble.down = True
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(1)
    site.lrm.trouble.down = False
    begun = site.clock.seconds()
    assert site.until(lambda: waiting)
    assert site.clock.seconds() - begun > 55
    assert len(site.submits) == 2
    assert len(site.jobs) == 1


def test_of_two_jobs_by_one_name_one_is_kept_and_the_other_is_cancelled_after_the_grace() -> None:
    site = Site(options={"stray_grace": 40.0, "poll": 10.0})
    site.acquire()
    twin = site.result(site.lrm.submit(site.submits[0]))
    site.run(30)
    assert site.cancels == []
    site.until(lambda: site.cancels == [twin])
    assert site.states() == (["Started"], ["Ready"] * 2)


def test_a_job_by_our_name_without_a_row_is_reaped_after_the_grace_and_never_under_a_failed_listing() -> None:
    site = Site(options={"stray_grace": 40.0, "poll": 10.0})
    site.acquire()
    site.result(site.backend.release("k1"))
    site.until(lambda: site.states()[0] == ["Ended"])
    stray = site.result(site.lrm.submit(site.submits[0]))
    site.run(20)
    site.lrm.trouble.down = True
    site.run(200)
    assert site.cancels == []
    site.lrm.trouble.down = False
    site.until(lambda: site.cancels == [stray], 250)


def test_a_cancel_that_fails_is_tried_until_the_scheduler_lists_the_job_no_more() -> None:
    site = Site(nodes=2, options={"poll": 10.0})
    site.acquire("k1", 2)
    site.spawn(site.backend.acquire(site.claim("k2")))
    site.run(3)
    site.lrm.trouble.down = True
    site.result(site.backend.release("k2"))
    site.run(300)
    assert site.jobs[1].state is JobState.ENDING
    site.lrm.trouble.down = False
    site.until(lambda: site.jobs[1].state is JobState.ENDED)
    views = {view.lrm_id: view.says for view in site.result(site.lrm.list())}
    assert views["2"] is LrmSays.ENDED


def test_one_listing_does_for_all_jobs_and_there_are_fewer_while_pilots_report() -> None:
    site = Site(nodes=8)
    for number in range(4):
        site.acquire(f"k{number}", 2, duration=100_000)
    site.run(60)
    before = site.backend._watch.listings
    site.run(1200)
    calm = site.backend._watch.listings - before
    assert 9 <= calm <= 11
    site.away = True
    site.run(60)
    before = site.backend._watch.listings
    site.run(600)
    assert 18 <= site.backend._watch.listings - before <= 20


def test_silence_alone_declares_nothing_dead() -> None:
    site = Site()
    site.acquire(duration=100_000)
    site.away = True
    site.run(3600)
    assert site.states() == (["Started"], ["Ready"] * 2)
    assert site.told(ClaimTopic.LOST) == []
    seen = site.result(site.backend.reconcile(["k1"]))
    assert len(seen.silent) == 2
    assert not seen.lost
    assert not seen.lost_places


def test_one_listing_that_does_not_show_a_job_is_not_believed() -> None:
    site = Site()
    site.acquire()
    jobs, site.lrm._jobs = site.lrm._jobs, {}
    site.result(site.backend._watch.look(5.0))
    site.lrm._jobs = jobs
    site.run(300)
    assert site.states() == (["Started"], ["Ready"] * 2)


def test_a_job_that_is_requeued_before_anything_ran_goes_on_with_a_new_epoch() -> None:
    site = Site(start=5.0, options={"poll": 5.0})
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(4)
    assert site.states() == (["Started"], ["Bound"] * 2)
    old = site.pilots[0]
    site.lrm.requeue("1")
    grants = site.until(lambda: waiting)[0]
    assert len(grants) == 2
    assert [slot.epoch for slot in site.slots] == [2, 2]
    assert {slot.node for slot in site.slots} == {"n1", "n2"}
    assert site.jobs[0].epoch == 2
    state = site.slots
    old.dead = False
    old.outbox.clear()
    old.say(Kind.RELEASED, {"reason": "old"})
    site.run(1)
    assert site.slots == state


def test_a_job_that_is_requeued_when_vms_may_run_is_ended_and_its_places_are_lost() -> None:
    site = Site(options={"poll": 5.0})
    site.acquire()
    site.lrm.requeue("1")
    site.until(lambda: site.told(ClaimTopic.LOST))
    assert "put it into its queue again" in site.told(ClaimTopic.LOST)[0].reason
    site.until(lambda: site.states()[0] == ["Ended"], 300)
    assert "1" in site.cancels


@pytest.mark.parametrize("claims", [4, 8])
def test_more_than_half_of_the_slots_lost_at_once_waits_for_the_operators_word(claims: int) -> None:
    site = Site(nodes=claims, options={"poll": 10.0})
    for number in range(claims):
        site.acquire(f"k{number}", 1)
    site.lrm._jobs.clear()
    site.run(300)
    assert {slot.state for slot in site.slots} == {SlotState.READY}
    assert site.told(ClaimTopic.LOST) == []
    shown = site.result(site.backend.inspect())
    assert shown["guard"]["lost"] == claims
    assert shown["guard"]["live"] == claims
    held = site.result(site.backend.confirm())
    assert len(held["held"]) == claims
    site.run(5)
    assert {slot.state for slot in site.slots} == {SlotState.RELEASED}  # by pilots that live after all
    assert {job.state for job in site.jobs} == {JobState.LOST}
    assert len(site.told(ClaimTopic.LOST)) == claims
    assert site.result(site.backend.inspect())["guard"] is None


def test_a_guard_that_held_back_lets_go_by_itself_when_the_jobs_are_there_again() -> None:
    site = Site(nodes=4, options={"poll": 10.0})
    for number in range(4):
        site.acquire(f"k{number}", 1)
    jobs, site.lrm._jobs = site.lrm._jobs, {}
    site.run(100)
    assert site.result(site.backend.inspect())["guard"]
    site.lrm._jobs = jobs
    site.run(60)
    assert site.result(site.backend.inspect())["guard"] is None
    assert {slot.state for slot in site.slots} == {SlotState.READY}


def test_what_clients_end_is_not_the_guards_business() -> None:
    site = Site(nodes=8, options={"poll": 10.0})
    for number in range(8):
        site.acquire(f"k{number}", 1)
    for number in range(8):
        site.result(site.backend.release(f"k{number}"))
    site.until(lambda: set(site.states()[0]) == {"Ended"})


def test_a_claim_without_living_workspaces_is_given_back_but_not_at_first_sight() -> None:
    site = Site()
    site.acquire()
    site.result(site.backend.reconcile([]))
    site.run(30)
    site.result(site.backend.reconcile([]))
    assert site.states()[1] == ["Ready"] * 2
    site.run(40)
    site.result(site.backend.reconcile([]))
    site.until(lambda: site.states() == (["Ended"], ["Released"] * 2))


def test_a_ledger_that_does_not_answer_for_a_while_holds_a_claim_up_and_no_more() -> None:
    site = Site()
    site.ledger.down = True
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(20)
    assert not waiting
    site.ledger.down = False
    assert len(site.until(lambda: waiting)[0]) == 2


def test_one_job_that_the_scheduler_ends_is_no_mass_however_many_nodes_it_has() -> None:
    site = Site(nodes=16, options={"poll": 10.0})
    site.acquire("k1", 16)
    site.lrm.kill("1", "CANCELLED")
    site.until(lambda: site.told(ClaimTopic.LOST), 60)
    assert site.states()[1] == ["Lost"] * 16


def test_a_submit_that_takes_long_is_not_made_twice() -> None:
    site = Site(options={"poll": 5.0})
    submit = site.lrm.submit

    async def slowly(job: JobRequest) -> str:
        waited: Deferred[None] = Deferred()
        site.clock.callLater(150.0, waited.callback, None)
        await waited
        return await submit(job)

    site.lrm.submit = slowly  # type: ignore[method-assign]
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(120)
    assert site.jobs[0].version == 1
    assert site.until(lambda: waiting)
    assert len(site.submits) == 1

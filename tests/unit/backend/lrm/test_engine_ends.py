"""Every way in which a claim ends before its time: whose doing it was is told, and everybody gives back."""

from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.backend.api import ClaimTopic
from flyinglow.backend.lrm.states import SlotState
from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError, FlyingLowError, NeverError
from flyinglow.pilot.messages import Kind
from rigs.lrm_site import Site, known


def granted(**options: Any) -> Site:
    site = Site(**options)
    site.acquire()
    return site


def test_a_claim_that_is_released_while_it_waits_is_taken_out_of_the_queue() -> None:
    site = Site(nodes=2)
    site.acquire("k1", 2)
    waiting = site.spawn(site.backend.acquire(site.claim("k2")))
    site.run(5)
    site.result(site.backend.release("k2"))
    assert waiting[0].check(ConflictError)
    site.run(5)
    assert site.cancels == ["2"]
    site.until(lambda: site.states()[0] == ["Started", "Ended"])


def test_a_claim_that_is_released_while_its_pilots_start_gives_all_back() -> None:
    site = Site(start=10.0)
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(5)
    assert site.states() == (["Started"], ["Bound"] * 2)
    site.result(site.backend.release("k1"))
    assert waiting[0].check(ConflictError)
    site.until(lambda: site.states() == (["Ended"], ["Released"] * 2))
    assert site.cancels == []


def test_a_job_that_pilots_do_not_end_is_cancelled_after_the_patience() -> None:
    site = granted(undoing=10_000.0, options={"release_patience": 20.0, "poll": 5.0})
    site.result(site.backend.release("k1"))
    site.run(19)
    assert site.cancels == []
    site.run(3)
    assert site.cancels == ["1"]
    site.until(lambda: site.states()[0] == ["Ended"])


def test_the_operator_cancels_and_the_claim_is_told_the_seconds_and_the_reason() -> None:
    site = granted()
    site.lrm.end("1", "CANCELLED")
    site.run(2)
    [ending] = site.told(ClaimTopic.ENDING)
    assert ending.key == "k1"
    assert len(ending.places) == 2
    assert 13 <= known(ending.seconds) <= 15
    assert "job 1 was cancelled by the operator" in ending.reason
    assert "SIGTERM on n1" in ending.reason
    site.until(lambda: site.told(ClaimTopic.LOST))
    site.run(20)
    places = {place for news in site.told(ClaimTopic.LOST) for place in news.places}
    assert places == ending.places
    assert site.states() == (["Ended"], ["Released"] * 2)
    assert site.clock.seconds() < 60


def test_one_pilot_is_signalled_and_all_others_are_warned_at_once() -> None:
    site = granted(deaf=True)
    site.lrm.end("1", "PREEMPTED")
    site.run(1)
    other = next(pilot for pilot in site.pilots if pilot.rank == 1)
    assert 28 <= known(other.killed_at) - site.clock.seconds() <= 30
    site.until(lambda: site.states()[1] == ["Released"] * 2, 29)


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (lambda site: site.lrm.kill("1", "PREEMPTED"), "PREEMPTED"),
        (lambda site: site.lrm.kill("1", "TIMEOUT"), "TIMEOUT"),
        (lambda site: site.lrm.fail_node("n2"), "NODE_FAIL"),
        (lambda site: site.lrm.kill("1", "CANCELLED"), "cancelled by the operator"),
        (lambda site: site.lrm.vanish("1"), "does not list the job any more"),
    ],
    ids=["preempted", "limit", "node down", "cancelled", "vanished"],
)
def test_a_job_that_ends_without_a_word_loses_its_places_with_its_reason(
    end: Callable[[Site], None], word: str
) -> None:
    site = granted()
    end(site)
    site.until(lambda: site.told(ClaimTopic.LOST), 240)
    [news] = site.told(ClaimTopic.LOST)
    assert word in news.reason
    assert len(news.places) == 2
    assert site.states() == (["Lost"], ["Lost"] * 2)
    seen = site.result(site.backend.reconcile(["k1"]))
    assert set(seen.lost) == {"k1"}
    assert set(seen.lost_places) == set(news.places)


def test_a_job_that_dies_before_its_first_report_fails_the_claim_with_its_name_node_and_reason() -> None:
    site = Site(silent=True)
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(3)
    site.lrm.kill("1", "FAILED")
    error = site.until(lambda: waiting)[0]
    assert error.check(BrokenError)
    assert "fl-" in str(error.value)
    assert "FAILED" in str(error.value)


@pytest.mark.parametrize("native", ["CANCELLED", "PREEMPTED", "NODE_FAIL", "TIMEOUT"])
def test_a_job_that_is_taken_while_its_pilots_start_takes_the_claim_back(native: str) -> None:
    site = Site(silent=True, options={"poll": 5.0})
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.until(lambda: site.jobs[0].started_at)
    site.lrm.kill("1", native)
    error = site.until(lambda: waiting)[0]
    assert error.check(ConflictError)
    assert native in str(error.value)


def test_a_job_that_the_operator_deletes_from_the_queue_takes_the_claim_back() -> None:
    site = Site(nodes=1)
    waiting = site.spawn(site.backend.acquire(site.claim(members=1)))
    other = site.spawn(site.backend.acquire(site.claim("k2", 1)))
    site.until(lambda: waiting)
    site.lrm.end("2", "CANCELLED")
    error = site.until(lambda: other)[0]
    assert error.check(ConflictError)
    assert "CANCELLED" in str(error.value)


def test_a_pilot_that_fails_is_named_with_its_step_and_node() -> None:
    site = Site(start=1000.0)
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(5)
    site.pilots[1].say(Kind.FAILED, {"step": "reserve", "error": {"kind": "exhausted", "message": "512 MB short"}})
    site.run(1)
    error = waiting[0]
    assert error.check(BrokenError)
    assert "n2" in str(error.value)
    assert "512 MB short" in str(error.value)


@pytest.mark.parametrize("refusal", [DeniedError("no such account"), NeverError("too long"), BrokenError("gone mad")])
def test_a_job_that_the_scheduler_refuses_is_refused_in_its_words(refusal: FlyingLowError) -> None:
    site = Site()
    site.lrm.trouble.refuse = refusal
    with pytest.raises(type(refusal), match=refusal.message):
        site.acquire()
    assert site.states() == (["Lost"], ["Lost"] * 2)
    site.result(site.backend.release("k1"))
    assert site.ledger.rows.uses == []


def test_a_slot_ends_on_its_pilots_own_clock_before_the_scheduler_ends_it() -> None:
    site = Site()
    site.acquire(duration=600)
    [job] = site.jobs
    assert job.seconds == 720
    site.away = True
    site.until(lambda: all(pilot.ending for pilot in site.pilots), 800)
    held = (site.now() - max(known(slot.ready_at) for slot in site.slots)).total_seconds()
    assert 600 < held < (site.now() - known(job.started_at)).total_seconds() < job.seconds - 29
    site.away = False
    site.until(lambda: site.told(ClaimTopic.LOST))
    assert "deadline" in site.told(ClaimTopic.LOST)[0].reason
    site.until(lambda: site.states()[0] == ["Ended"])
    assert {slot.state for slot in site.slots} == {SlotState.RELEASED}


def test_who_waits_for_nodes_that_the_operator_takes_back_hears_of_the_cancel() -> None:
    site = Site(start=30.0, options={"poll": 5.0})
    waiting = site.spawn(site.backend.acquire(site.claim("k1", 2)))
    site.until(lambda: site.states()[1] == ["Bound"] * 2)
    site.lrm.end("1", "CANCELLED")
    [failure] = site.until(lambda: waiting, 5)
    assert isinstance(failure.value, ConflictError)
    assert "job 1 was cancelled by the operator or by hand (SIGTERM on n" in failure.value.message

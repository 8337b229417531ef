"""What went wrong in the paper's own implementation does not go wrong here; one test for each weak point it had."""

from datetime import timedelta

from flyinglow.backend.api import ClaimTopic
from flyinglow.backend.lrm.states import JobState, SlotState
from flyinglow.nodectl.errors import BrokenError
from flyinglow.pilot.messages import Kind
from rigs.lrm_site import NOON, Pilot, Site, known


def twice(pilot: Pilot, kind: Kind, number: int, body: dict[str, object] | None = None) -> None:
    """Send a report again that was acknowledged already."""
    pilot.outbox.append((kind, body or {}, number))
    pilot._send()
    pilot.site.run(0.5)


def test_a_repeated_ready_report_claims_no_second_member() -> None:
    site = Site()
    grants = site.acquire(members=3)
    places = {member: grant.node.name for member, grant in grants.items()}
    assert len(set(places.values())) == 3
    pilot = site.pilots[0]
    twice(pilot, Kind.READY, 2, {"left": 500})
    twice(pilot, Kind.READY, 2, {"left": 500})
    assert {member: grant.node.name for member, grant in site.acquire(members=3).items()} == places
    assert site.states()[1] == ["Ready"] * 3


def test_a_job_that_dies_before_its_first_report_is_noticed_though_nobody_reports() -> None:
    site = Site(silent=True)
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(2)
    site.lrm.kill("1", "FAILED")
    assert site.until(lambda: waiting, 60)[0].check(BrokenError)


def test_a_failed_cancel_forgets_neither_the_job_nor_its_slots() -> None:
    site = Site(undoing=1e9, options={"release_patience": 5.0, "poll": 10.0})
    site.acquire()
    site.lrm.trouble.down = True
    site.result(site.backend.release("k1"))
    site.run(120)
    shown = site.result(site.backend.inspect())["jobs"]
    assert [job["state"] for job in shown] == ["Ending"]
    assert "does not answer" in shown[0]["cancel_failure"]
    assert len(site.cancels) > 3
    site.lrm.trouble.down = False
    site.until(lambda: site.jobs[0].state is JobState.ENDED)


def test_the_service_learns_that_the_node_was_given_back() -> None:
    site = Site()
    site.acquire()
    site.result(site.backend.release("k1"))
    site.until(lambda: {slot.state for slot in site.slots} == {SlotState.RELEASED}, 5)
    assert all(slot.over_at is not None for slot in site.slots)


def test_a_pilot_ends_its_slot_a_grace_before_the_schedulers_limit_and_after_the_lease() -> None:
    site = Site(start=20.0)
    site.acquire(duration=600)
    [job] = site.jobs
    limit = known(job.started_at) + timedelta(seconds=job.seconds)
    for slot in site.slots:
        assert known(slot.deadline) <= limit - timedelta(seconds=29)
        assert known(slot.deadline) >= known(slot.ready_at) + timedelta(seconds=600)


def test_a_pilots_clock_that_is_wrong_by_a_day_makes_no_report_stale() -> None:
    site = Site()
    site.acquire()
    seal = site.pilots[0].signed.seal
    site.pilots[0].signed.seal = lambda kind, body=None, **more: seal(kind, body, **{**more, "time_ms": 5})  # type: ignore[method-assign]
    site.pilots[0].doom(30.0)
    site.run(2)
    assert [news.topic for news in site.news if news.topic is ClaimTopic.ENDING] == [ClaimTopic.ENDING]
    assert known(site.slots[0].deadline) > NOON


def test_a_preemption_is_told_with_the_services_share_of_the_grace_before_pilots_end_anything() -> None:
    site = Site(options={"grace": 40.0, "share": 0.25})
    site.acquire()
    signalled = site.clock.seconds()
    site.lrm.end("1", "PREEMPTED")
    [news] = site.until(lambda: site.told(ClaimTopic.ENDING))
    assert 8 <= news.seconds <= 10
    assert site.states()[1] == ["Preempting"] * 2
    site.backend.channel(next(iter(news.places)))  # orders still reach the nodes
    site.until(lambda: site.states()[1] == ["Released"] * 2)
    assert 9.5 <= site.clock.seconds() - signalled < 39


def test_the_reason_of_a_preemption_reaches_the_lessee() -> None:
    site = Site()
    site.acquire()
    site.lrm.kill("1", "PREEMPTED")
    [news] = site.until(lambda: site.told(ClaimTopic.LOST), 240)
    assert "PREEMPTED" in news.reason
    assert "another job took its nodes" in news.reason
    assert "PREEMPTED" in site.jobs[0].reason
    assert all("PREEMPTED" in slot.reason for slot in site.slots)


def test_a_slots_whole_life_is_on_record_late_words_too() -> None:
    site = Site()
    site.acquire(members=1)
    pilot = site.pilots[0]
    site.lrm.kill("1", "NODE_FAIL")
    site.until(lambda: site.slots[0].state is SlotState.LOST, 240)
    pilot.dead, pilot.ending = False, True
    pilot.say(Kind.RELEASED, {"reason": "the node came back"})
    site.run(1)
    kinds = [row.kind for row in site.ledger.rows.trail_rows if row.slot == site.slots[0].id]
    assert kinds == ["hello", "ready", "released"]
    assert site.slots[0].state is SlotState.RELEASED
    assert [slot["reports"] for job in site.result(site.backend.inspect())["jobs"] for slot in job["slots"]] == [3]


def test_a_slot_outlasts_the_lease_however_long_the_scheduler_took_to_start_it() -> None:
    site = Site(nodes=2, start=60.0)
    site.acquire("k1", 2, duration=600)
    second = site.spawn(site.backend.acquire(site.claim("k2", duration=600)))
    site.run(300)
    site.result(site.backend.release("k1"))
    site.until(lambda: second, 300)
    ends = [slot for slot in site.slots if slot.state is SlotState.READY]
    assert len(ends) == 2
    assert all((known(slot.deadline) - site.now()).total_seconds() >= 600 for slot in ends)

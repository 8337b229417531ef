"""Failures that nobody foresaw, wherever something waits to go on: each is tried again, and nothing is stuck."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.states import JobState, SlotState
from flyinglow.nodectl.errors import TransientError
from rigs.lrm_site import NOON, Site, known


def once(owner: Any, name: str, error: Exception, *, times: int = 1) -> list[int]:
    """Let a function fail so many times; return a list that grows with each call."""
    real = getattr(owner, name)
    calls: list[int] = []

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return real(*args, **kwargs)

    setattr(owner, name, failing)
    return calls


def at_step(site: Site, step: str, what: Callable[[], None], *, after: bool = False) -> list[int]:
    """Do something at the first transaction of a step, before it or when it is committed; return a list of these."""
    run = site.ledger.run
    calls: list[int] = []

    def disturbed(fn: Any, *, step: str | None = None) -> Any:
        hit = step == wanted and not calls
        if hit:
            calls.append(1)
        if hit and not after:
            what()
        done = run(fn, step=step)
        if hit and after:
            what()
        return done

    wanted = step
    site.ledger.run = disturbed  # type: ignore[method-assign]
    return calls


def ignored(_pilot: Any) -> None:
    """Let the script of a job hang: its pilots are over, and it is not."""


def away() -> None:
    raise TransientError("the ledger does not answer")


def starving() -> tuple[Site, list[Any], list[Any]]:
    """Two claims on two nodes, each of which has one and waits for the other."""
    site = Site(nodes=2, options={"hold_limit": 60.0, "poll": 10.0})
    site.lrm.splits = lambda components: tuple((one,) for one in components)  # type: ignore[method-assign]
    submit, count = site.lrm.submit, iter(range(1, 100))

    async def lossy(job: Any) -> str:
        if next(count) == 2:
            raise TransientError("it did not answer in time")
        return await submit(job)

    site.lrm.submit = lossy  # type: ignore[method-assign]
    waiting = []
    for key in ("older", "younger"):
        claim = site.claim(key, 2, duration=100_000)
        small, large = claim.request.demands
        request = replace(claim.request, demands=(small, replace(large, memory_mb=3000)))
        waiting.append(site.spawn(site.backend.acquire(replace(claim, request=request))))
        site.run(0.25)
    return site, waiting[0], waiting[1]


def test_a_ledger_that_cannot_be_read_at_the_start_for_whatever_reason_is_read_again() -> None:
    site = Site()
    site.kill()
    calls = once(site.ledger, "read", ValueError("a row that makes no sense"))
    site.restart()
    assert calls
    assert len(site.acquire()) == 2


def test_a_start_that_fails_half_way_is_gone_through_again() -> None:
    site = Site()
    site.acquire()
    site.kill()
    calls = once(site.lrm, "list", ValueError("never asked"), times=0)
    site.away = False
    site.backend = site._made()
    once(site.backend, "_take_up", ValueError("never seen"))
    site.run(20)
    assert calls
    assert len(site.acquire("k2")) == 2


def test_what_is_closed_while_it_reads_its_ledger_does_nothing_any_more() -> None:
    site = Site()
    site.kill()
    held: Deferred[None] = Deferred()
    read, asked = site.ledger.read, site.backend._watch.listings

    def slow(fn: Any) -> Any:
        return read(fn).addCallback(lambda rows: held.addCallback(lambda _: rows))

    site.ledger.read = slow  # type: ignore[method-assign]
    site.backend = site._made()
    surveys = once(site.lrm, "survey", ValueError("never seen"), times=0)
    site.clock.advance(0)
    site.kill()
    held.callback(None)
    site.run(60)
    assert not surveys
    assert site.backend._watch.listings == 0 < asked


def test_a_policy_that_fails_unforeseen_does_not_leave_a_claim_waiting_for_ever() -> None:
    site = Site()
    once(site.backend._claims, "_planner", ValueError("never seen"))
    assert len(site.acquire()) == 2


def test_a_request_that_was_committed_though_the_ledger_said_otherwise_is_granted() -> None:
    site = Site(options={"poll": 10.0})
    calls = at_step(site, "lrm.request", away, after=True)
    assert len(site.acquire()) == 2
    assert calls
    assert len(site.jobs) == 1


def test_a_report_that_was_stored_and_not_taken_in_is_seen_in_the_ledger() -> None:
    site = Site(start=20.0, options={"poll": 10.0})
    waiting = site.spawn(site.backend.acquire(site.claim("k1", 1)))
    site.until(lambda: site.states()[1] == ["Bound"])
    calls = once(site.backend._intake, "_heard", ValueError("never seen"))
    site.until(lambda: site.states()[1] == ["Ready"])
    assert calls
    assert len(site.until(lambda: waiting, 60)[0]) == 1


def test_one_claim_that_cannot_be_looked_at_does_not_keep_another_from_being_granted() -> None:
    site = Site(start=20.0, options={"poll": 10.0})
    waiting = site.spawn(site.backend.acquire(site.claim("k1", 1)))
    site.until(lambda: site.states()[1] == ["Bound"])
    once(site.backend._claims, "_worn", ValueError("never seen"))
    assert len(site.until(lambda: waiting, 60)[0]) == 1


def test_a_claim_that_could_not_give_way_does_so_in_the_next_round() -> None:
    site, older, younger = starving()
    calls = at_step(site, "lrm.queue_again", away)
    assert len(site.until(lambda: older, 200)[0]) == 2
    assert calls
    site.result(site.backend.release("older"))
    assert len(site.until(lambda: younger, 900)[0]) == 2


def test_a_claim_whose_last_node_comes_as_it_is_to_give_way_keeps_them_all() -> None:
    site, _older, younger = starving()

    def all_ready() -> None:
        rows, now = site.ledger.rows, site.now()
        mine = {use.slot for use in rows.uses if use.claim == "younger"}
        for slot in [rows.slot_rows[one] for one in sorted(mine)]:
            ready = replace(slot, state=SlotState.READY, node="n9", ready_at=slot.ready_at or now)
            rows.slot_rows[slot.id] = replace(ready, version=slot.version + 1)

    calls = at_step(site, "lrm.queue_again", all_ready)
    assert len(site.until(lambda: younger, 200)[0]) == 2
    assert calls
    assert {use.claim for use in site.ledger.rows.uses} == {"older", "younger"}


@pytest.mark.parametrize("part", ["keep_up", "_look_at_lrm"])
def test_one_part_of_a_round_that_always_fails_keeps_no_other_from_its_turn(part: str) -> None:
    site = Site(options={"poll": 10.0})

    async def failing() -> None:
        raise ValueError("never seen")

    setattr(site.backend._rounds, part, failing)
    site.acquire()
    site.result(site.backend.release("k1"))
    site.until(lambda: not site.backend._desk.mirror.jobs, 300)


def test_a_survey_that_fails_unforeseen_is_shown() -> None:
    site = Site(options={"poll": 10.0})
    site.backend._rounds._survey_due = 0.0
    once(site.lrm, "survey", ValueError("never seen"), times=1000)
    site.run(15)
    assert "never seen" in site.backend._rounds.survey_failure


def test_a_listing_that_fails_unforeseen_is_shown_and_made_again() -> None:
    site = Site(options={"poll": 10.0})
    waiting = site.spawn(site.backend.acquire(site.claim()))
    once(site.lrm, "list", ValueError("never seen"), times=2)
    site.run(11)
    assert "never seen" in site.backend._watch.failure
    site.until(lambda: waiting)
    site.run(60)
    assert not site.backend._watch.failure


@pytest.mark.parametrize("restart", [False, True])
def test_a_job_whose_slots_are_over_is_ended_though_that_could_not_be_noted_at_first(restart: bool) -> None:
    site = Site(options={"poll": 10.0})
    site.acquire(duration=100_000)
    site.ended = ignored  # type: ignore[method-assign, assignment]
    calls = at_step(site, "lrm.over", away)
    for pilot in site.pilots:
        pilot.give_back("by itself")
    site.until(lambda: calls)
    if restart:
        site.kill()
        site.restart()
    site.until(lambda: site.cancels == ["1"], 200)
    site.until(lambda: site.jobs[0].state is JobState.ENDED, 200)


def test_the_end_that_one_run_of_a_job_was_told_of_is_not_told_to_the_next() -> None:
    site = Site(options={"poll": 5.0})
    site.acquire()
    site.backend._bulletin.signalled(site.slots[0], 20.0, "SIGTERM")
    assert site.backend._bulletin.kills_at
    job = site.jobs[0]
    site.ledger.rows.job_rows[job.tag] = replace(job, epoch=2, version=job.version + 1)
    site.run(10)
    assert not site.backend._bulletin.kills_at


def test_nothing_is_kept_of_jobs_that_are_gone() -> None:
    site = Site(options={"poll": 5.0})
    site.acquire()
    tag = site.jobs[0].tag
    site.result(site.backend.release("k1"))
    site.until(lambda: site.states()[0] == ["Ended"])
    site.backend._claims.doom(tag, "it was told of late")
    site.backend._bulletin.kills_at[tag] = 0.0
    site.run(20)
    assert not site.backend._claims._dooms
    assert not site.backend._bulletin.kills_at
    assert known(site.jobs[0].over_at) > NOON

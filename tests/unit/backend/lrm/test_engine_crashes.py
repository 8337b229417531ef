"""The service is killed right after each step that it commits: nothing is lost, doubled or forgotten."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.api import Claim, ClaimTopic
from flyinglow.backend.lrm.desk import Closed
from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, JobState, LrmSays, SlotState
from flyinglow.backend.lrm.steps import RECOVERY, STEPS, Recovery
from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.pilot.messages import Kind
from rigs.lrm_site import Site


class Core:
    """What the core does: asks for what it wants until it has it, and again after each start; releases what is over."""

    def __init__(self, step: str, **options: Any) -> None:
        self.step = step
        self.wanted: dict[str, Claim] = {}
        self.dropped: list[str] = []
        self.answers: dict[str, list[Any]] = {}
        self.killed = 0
        self.site = Site(**options)
        self.site.ledger.committed = self._committed

    def _committed(self, step: str) -> None:
        if step == self.step and not self.killed:
            self.killed = 1
            self.site.kill()
        if self.killed == 1:
            raise Closed  # whoever waits for the commit is gone

    def want(self, claim: Claim) -> None:
        self.wanted[claim.key] = claim
        self.answers[claim.key] = self.site.spawn(self.site.backend.acquire(claim))

    def drop(self, key: str) -> None:
        del self.wanted[key]
        self.dropped.append(key)
        self.site.spawn(self.site.backend.release(key))

    def has(self, key: str) -> bool:
        return bool(self.answers[key]) and isinstance(self.answers[key][0], dict)

    def until(self, question: Callable[[], Any], seconds: float = 600.0) -> Any:
        def asked() -> Any:
            if self.killed == 1:
                self.site.run(3)
                self.killed = 2
                self.site.restart()
                for key, claim in self.wanted.items():
                    if not self.has(key):
                        self.want(claim)
                for key in self.dropped:
                    self.site.spawn(self.site.backend.release(key))
            return question()

        return self.site.until(asked, seconds)

    def until_over(self) -> None:
        """All jobs are over in the ledger and in the scheduler, no slot is held, no pilot lives."""

        def over() -> bool:
            jobs, slots = self.site.jobs, self.site.slots
            return all(job.state in JOB_OVER for job in jobs) and all(slot.state in SLOT_OVER for slot in slots)

        self.until(over, 900)
        assert {view.says for view in self.site.result(self.site.lrm.list())} <= {LrmSays.ENDED}
        assert [pilot for pilot in self.site.pilots if not pilot.dead] == []
        assert self.site.ledger.rows.uses == []


def life(core: Core) -> None:
    core.want(core.site.claim())
    core.until(lambda: core.has("k1"))
    assert len(core.site.jobs) == 1
    core.until(lambda: core.site.jobs[0].lrm_id)
    core.drop("k1")
    core.until_over()
    assert {slot.state for slot in core.site.slots} == {SlotState.RELEASED}
    assert len(core.site.result(core.site.lrm.list())) == 1


def spooled(core: Core) -> None:
    core.want(core.site.claim())
    core.until(lambda: core.has("k1"))
    Path(core.site.options["spool"]).write_bytes(b"this is no report\n")
    core.until(lambda: core.killed != 0)
    core.drop("k1")
    core.until_over()


def lost_submit(core: Core) -> None:
    core.site.lrm.trouble.down = True
    core.want(core.site.claim())
    core.until(lambda: core.killed or core.site.jobs)
    core.site.run(1)
    core.site.lrm.trouble.down = False
    core.until(lambda: core.has("k1"))
    core.drop("k1")
    core.until_over()
    assert len(core.site.jobs) == 1


def refused(core: Core) -> None:
    core.site.lrm.trouble.refuse = BrokenError("no such queue")
    core.want(core.site.claim())
    core.until(lambda: core.answers["k1"] and not core.has("k1"))
    assert core.answers["k1"][0].check(BrokenError)
    assert "no such queue" in str(core.answers["k1"][0].value)
    assert [news for news in core.site.news if news.topic is ClaimTopic.LOST] == []
    core.drop("k1")
    core.until_over()


def competing(core: Core) -> None:
    site = core.site
    site.lrm.splits = lambda components: tuple((one,) for one in components)  # type: ignore[method-assign]
    core.want(two_sizes(site, "older"))
    site.run(0.25)
    core.want(two_sizes(site, "younger"))
    core.until(lambda: core.has("older"), 1200)
    core.drop("older")
    core.until(lambda: core.has("younger"), 1800)
    core.drop("younger")
    core.until_over()


def two_sizes(site: Site, key: str) -> Claim:
    claim = site.claim(key, 2, duration=100_000)
    small, large = claim.request.demands
    return replace(claim, request=replace(claim.request, demands=(small, replace(large, memory_mb=3000))))


def warm(core: Core) -> None:
    core.want(core.site.claim())
    core.until(lambda: core.has("k1"))
    core.drop("k1")
    core.until_over()


def aging(core: Core) -> None:
    """What was free when the claim asked is over before the rest of it can be had."""
    site = core.site
    core.want(site.claim("k1", 1, duration=1000))
    core.until(lambda: core.has("k1"))
    core.want(site.claim("k2", 2, duration=20_000))
    core.until(lambda: core.has("k2"))
    core.drop("k1")
    site.run(5)
    core.want(site.claim("k3", 2, duration=800))
    core.until(lambda: core.killed == 2, 2000)
    core.drop("k2")
    core.until(lambda: core.has("k3"), 1200)
    core.drop("k3")
    core.until_over()


def ahead(core: Core) -> None:
    core.until(lambda: [slot for slot in core.site.slots if slot.state is SlotState.READY], 900)
    core.want(core.site.claim(members=1, duration=300))
    core.until(lambda: core.has("k1"))
    core.until(lambda: core.killed == 2)
    core.site.run(150)  # a submit that may be under way is waited for
    living = [job for job in core.site.jobs if job.state not in JOB_OVER]
    assert 1 <= len(living) <= 2
    assert len([view for view in core.site.result(core.site.lrm.list()) if view.says is LrmSays.RUNNING]) == len(living)


def longer(core: Core) -> None:
    site = core.site
    site.lrm.trouble.grants_extension = True
    core.want(site.claim())
    core.until(lambda: core.has("k1"))
    site.spawn(site.backend.extend("k1", 3600))
    core.until(lambda: core.killed != 1)
    core.site.run(30)
    assert all(pilot.deadline - site.clock.seconds() > 3500 for pilot in site.pilots)
    core.drop("k1")
    core.until_over()


def alarm(core: Core) -> None:
    """The pilots are signalled while the service is away, or just has heard of it."""
    core.want(core.site.claim())
    core.until(lambda: core.has("k1"))
    core.site.lrm.end("1", "CANCELLED")
    core.until(lambda: core.site.states()[1] == ["Released"] * 2)
    core.drop("k1")
    core.until_over()


_LOSSY: Mapping[str, Any] = {"options": {"poll": 10.0}}
CASES: Mapping[str, tuple[Callable[[Core], None], Mapping[str, Any]]] = {
    "lrm.request": (life, {}),
    "lrm.submitted": (life, {}),
    "lrm.listed": (life, {}),
    "lrm.reports": (life, {}),
    "lrm.spool": (spooled, {}),
    "lrm.started": (life, {}),
    "lrm.over": (alarm, {}),
    "lrm.release": (life, {}),
    "lrm.unsure": (lost_submit, _LOSSY),
    "lrm.resubmit": (lost_submit, _LOSSY),
    "lrm.refused": (refused, {}),
    "lrm.queue_again": (competing, {"nodes": 2, "options": {"hold_limit": 60.0, "poll": 10.0}}),
    "lrm.renew": (
        aging,
        {
            "nodes": 3,
            "options": {"poll": 10.0, "policy": "keep_warm", "policy_options": {"seconds": 400, "patience": 10}},
        },
    ),
    "lrm.give_back": (
        warm,
        {"options": {"poll": 10.0, "policy": "keep_warm", "policy_options": {"seconds": 60}}},
    ),
    "lrm.ask_ahead": (
        ahead,
        {
            "options": {
                "poll": 10.0,
                "policy": "proactive",
                "policy_options": {"slots": 1, "memory_mb": 500, "seconds": 3600},
            }
        },
    ),
    "lrm.extend": (longer, {"options": {"extend": "operator"}}),
    "lrm.purge": (life, {}),
}


def test_every_step_has_its_case() -> None:
    assert set(CASES) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_the_service_is_killed_after(step: str, tmp_path: Path) -> None:
    story, options = CASES[step]
    if step == "lrm.spool":
        options = {"options": {"spool": str(tmp_path / "spool")}}
    core = Core(step, **options)
    if step == "lrm.queue_again":
        lose_a_submit(core.site, 2)
    if step == "lrm.purge":
        core.site.run(3600)
    story(core)
    assert core.killed == 2, f"{step} was never committed: {core.site.ledger.steps}"


def lose_a_submit(site: Site, number: int) -> None:
    submit, count = site.lrm.submit, iter(range(1, 100))

    async def lossy(job: Any) -> str:
        if next(count) == number:
            raise TransientError("it did not answer in time")
        return await submit(job)

    site.lrm.submit = lossy  # type: ignore[method-assign]


@pytest.mark.parametrize("phase", ["pending", "bound", "ready", "signalled", "releasing"])
def test_the_service_is_away_for_a_while_in_each_phase(phase: str) -> None:
    core = Core("", nodes=2, start=3.0)
    core.want(core.site.claim())
    if phase == "pending":
        core.site.kill()
    elif phase == "bound":
        core.until(lambda: core.site.states()[1] == ["Bound"] * 2)
        core.site.kill()
    else:
        core.until(lambda: core.has("k1"))
        if phase == "signalled":
            core.site.pilots[1].dead = True  # it hears nothing before the service goes
            core.site.pilots[0].say(Kind.SIGNALLED, {"signal": "SIGTERM", "grace": 30.0, "left": 30.0})
        if phase == "releasing":
            core.drop("k1")
        core.site.kill()
    core.site.run(20)
    for pilot in core.site.pilots:
        pilot.dead = False
    core.site.restart()
    core.killed = 1
    core.until(lambda: core.killed == 2)
    if phase == "signalled":  # the other is still warned, by what the ledger holds
        assert core.until(lambda: core.site.pilots[1].killed_at is not None)
        core.until(lambda: core.site.states()[1][1] == "Released")
    if phase != "releasing":
        if phase != "signalled":
            core.until(lambda: core.has("k1"))
        core.drop("k1")
    if phase == "signalled":
        core.site.lrm.end("1", "CANCELLED")
    core.until_over()


def test_the_recovery_table_is_complete() -> None:
    assert set(RECOVERY) == set(SlotState)
    assert all(set(row) == set(JobState) for row in RECOVERY.values())
    assert RECOVERY[SlotState.READY][JobState.STARTED] is Recovery.SERVE
    assert RECOVERY[SlotState.READY][JobState.LOST] is Recovery.LOSE
    assert RECOVERY[SlotState.UNBOUND][JobState.REQUESTED] is Recovery.SUBMIT
    assert RECOVERY[SlotState.PREEMPTING][JobState.STARTED] is Recovery.WARN
    assert all(how is Recovery.NOTHING for how in RECOVERY[SlotState.LOST].values())


def test_who_asks_again_after_a_crash_hears_the_refusal_and_no_loss_is_told_before() -> None:
    core = Core("lrm.refused")
    core.site.lrm.trouble.refuse = BrokenError("no such queue")
    core.want(core.site.claim())
    core.site.run(3)
    assert core.killed == 1
    core.killed = 2
    core.site.restart()
    core.site.run(5)  # the core takes its time until it asks again
    assert core.site.result(core.site.backend.reconcile(["k1"])).lost == {}
    assert [news for news in core.site.news if news.topic is ClaimTopic.LOST] == []
    core.want(core.site.claim())
    core.until(lambda: core.answers["k1"])
    assert core.answers["k1"][0].check(BrokenError)
    assert "no such queue" in str(core.answers["k1"][0].value)

"""The service dies after each step that it commits for a lease on a real Slurm, and the next one goes on from there.

Each case is a short story in which its step is reached. Afterwards the lease ends as it would have ended, no job was
submitted twice, none is forgotten, and the nodes are as they were.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.steps import STEPS as LRM_STEPS
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import NODECTL, SUDOERS
from flyinglow.cli.demo.slurm_world import USERS, SlurmWorld
from flyinglow.client import Lease, Part
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.workspace.lifecycle import STEPS
from rigs.lease_story import calm, dismiss, hog, mine, part
from rigs.lrm_service import LrmService, lrm_service
from rigs.slurm import slurm_world

pytestmark = pytest.mark.xdist_group("slurm-crashes")

SECONDS = 180.0
GRACE = 40
ELSEWHERE = {"sweep.purge", "sweep.forget", "sweep.save", "lrm.renew"}
ELSEWHERE |= {"context.report", "barrier.counted", "barrier.passed", "barrier.failed"}
"""Steps that know nothing of where a lease runs (tests/integration/server/test_crashes.py has them), and one that takes
as long as a slot lasts, which tests/unit/backend/lrm/test_engine_crashes.py has."""

LATE = """#!/bin/sh
if mkdir {mark} 2>/dev/null; then {first}exec sleep 60; fi
exec /usr/bin/sbatch "$@"
"""
"""An sbatch that does not answer the first time; ``first`` is what it does all the same."""

BEHIND = """#!/bin/sh
[ -e {file}.well ] || {{ /usr/bin/squeue "$@" | sed s/RUNNING/PENDING/; exit; }}
exec /usr/bin/squeue "$@"
"""
"""An squeue that is behind: it tells of no start before the file beside it is there."""

AT_REST = {"Running", "Paused", "Ended", "Corrupted", "Cancelled"}
Act = Callable[[LrmService, Lease], None]


def nothing(service: LrmService, lease: Lease) -> None:
    """Let the lease alone."""


def runs(service: LrmService, lease: Lease) -> bool:
    """Wait until the lease is at rest, and say whether all of it runs."""
    service.wait(lambda: set(states(lease)) <= AT_REST, "a lease at rest")
    return set(states(lease)) == {"Running"}


def trash(service: LrmService, lease: Lease) -> None:
    """End what runs."""
    if runs(service, lease):
        lease.whole.trash()


def pause(service: LrmService, lease: Lease) -> None:
    """Pause what runs."""
    if runs(service, lease):
        lease.whole.pause()


def cancel(service: LrmService, lease: Lease) -> None:
    """Cancel its job as an operator does."""
    if runs(service, lease):
        service.world.run_in_head(["scancel", "-u", "lease"])


def kill(service: LrmService, lease: Lease) -> None:
    """End its pilots without a warning."""
    for line in mine(service) if runs(service, lease) else ():
        service.world.run_in_head(["scancel", "--full", "--signal=TERM", line.split()[0]], check=False)


def lose(service: LrmService, lease: Lease) -> None:
    """Take one VM away behind the service's back."""
    if runs(service, lease):
        (vm,) = service.status("node1")["vms"]
        service.world.run_on("node1", [NODECTL, "destroy", vm["tag"]])


def prolong(service: LrmService, lease: Lease) -> None:
    """Ask for longer than the job's limit allows."""
    if runs(service, lease):
        lease.whole.extend(3000)


def spool(service: LrmService, lease: Lease) -> None:
    """Write something into the spool that is no report."""
    if runs(service, lease):
        file = Path(service.lrm_site.options["spool"])
        new = file.with_suffix(".new")
        new.write_bytes(b"this is no report\n")
        shutil.chown(new, USERS["lease"])
        new.rename(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a step is reached. ``states`` are the end; ``busy``: another user's job has all nodes."""

    states: tuple[str, ...]
    act: Act = nothing
    parts: Sequence[Part] = (part(2),)
    request: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    node: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""
    busy: bool = False
    sbatch: str | None = None  # what the sbatch that does not answer at first does all the same
    behind: bool = False  # the listing tells of no start, so that a pilot's report does, until the service died
    dirty: bool = False  # pilots were killed unheard: what they left is the next pilot's, or kill-all's


RUNNING, PAUSED, ENDED = ("Running",) * 2, ("Paused",) * 2, ("Ended",) * 2
CANCELLED, CORRUPTED = ("Cancelled",) * 2, ("Corrupted",) * 2
KEEP = {"policy": "keep_warm", "policy_options": {"seconds": 1}}
CASES: Mapping[str, Case] = {
    "lrm.request": Case(states=RUNNING),
    "lrm.submitted": Case(states=RUNNING),
    "lrm.unsure": Case(states=RUNNING, sbatch='/usr/bin/sbatch "$@"; '),
    "lrm.refused": Case(states=CORRUPTED, options={"extra": ["--constraint=nowhere"]}),
    "lrm.resubmit": Case(states=RUNNING, sbatch=""),
    "lrm.listed": Case(states=ENDED, act=trash),
    "lrm.reports": Case(states=RUNNING),
    "lrm.spool": Case(states=RUNNING, act=spool, options={"spool": "{jobs}/spool"}),
    "lrm.started": Case(states=RUNNING, behind=True),
    "lrm.over": Case(states=CANCELLED, act=cancel),
    "lrm.release": Case(states=ENDED, act=trash),
    "lrm.give_back": Case(states=ENDED, act=trash, options=KEEP),
    "lrm.extend": Case(states=RUNNING, act=prolong, options={"extend": "operator"}),
    "lrm.purge": Case(states=RUNNING),
    "launch.begin": Case(states=RUNNING),
    "launch.created": Case(states=RUNNING),
    "launch.started": Case(states=RUNNING),
    "launch.back_out": Case(states=CORRUPTED, node={"failures": [{"order": "start"}]}),
    "claim.waiting": Case(states=RUNNING, busy=True),
    "claim.ending": Case(states=CANCELLED, act=cancel),
    "claim.lost": Case(states=CANCELLED, act=kill, dirty=True),
    "operation.done": Case(states=PAUSED, act=pause),
    "reclaim.done": Case(states=ENDED, act=trash),
    "reclaim.failed": Case(states=ENDED, act=trash, node={"failures": [{"order": "destroy", "times": 1}]}),
    "observe.found": Case(states=("Corrupted", "Running"), act=lose),
    "sweep.expire": Case(states=ENDED, request={"duration": 3}),
    "sweep.overdue": Case(states=CANCELLED, request={"start_within": 2}, busy=True),
    "sweep.warn": Case(states=ENDED, request={"duration": 5}, more="[lease]\nwarn_before = 60"),
}
QUICK = {"lrm.request", "lrm.submitted", "lrm.refused", "lrm.over", "lrm.release"}
"""What is run always; all of them together take minutes. For lrm.unsure there is also test_slurm_away.py."""

OWN = {"lrm.queue_again", "lrm.ask_ahead"}
"""Steps with a test of their own below."""


def test_every_step_has_a_case() -> None:
    assert {*CASES, *OWN, *ELSEWHERE} == {*STEPS, *LRM_STEPS}


@pytest.fixture(scope="module")
def world() -> Iterator[SlurmWorld]:
    """Give a Slurm of two nodes, whose operator our user is: one case raises a job's limit."""
    with slurm_world(2, sudoers=SUDOERS, kill_wait=GRACE, slurm_user="lease") as made:
        yield made


@contextlib.contextmanager
def deadly(world: SlurmWorld, case: Case, **options: Any) -> Iterator[LrmService]:
    """Give a service that was not started; afterwards nothing of it is left in Slurm, whatever happened."""
    world.wait_idle()
    values = {
        name: value.format(jobs=world.jobs) if isinstance(value, str) else value
        for name, value in {**case.options, **options}.items()
    }
    patience = 30.0 if case.sbatch is None else 4.0
    settings = {
        "grace": GRACE,
        "share": 0.05,
        "submit_grace": 2.0,
        "command_timeout": patience,
        "lrm": "slurm",
        **values,
    }
    if case.sbatch is not None:
        settings["commands"] = {"sbatch": str(late(world, case.sbatch))}
    if case.behind:
        settings["commands"] = {"squeue": str(behind(world))}
    changes = {"nodectl": {"simulated": case.node}, "more": case.more, "start": False}
    try:
        with lrm_service(world, HEAD_ADDRESS, settings, **changes) as service:
            yield service
    finally:
        for user in ("lease", "other"):
            world.run_in_head(["scancel", "-u", user], check=False)


def late(world: SlurmWorld, first: str) -> Path:
    """Write an sbatch that does not answer the first time."""
    file = world.jobs / f"sbatch-{time.monotonic_ns()}"
    file.write_text(LATE.format(mark=f"{file}.mark", first=first))
    file.chmod(0o755)
    return file


def behind(world: SlurmWorld) -> Path:
    """Write an squeue that is behind."""
    file = world.jobs / "squeue"
    file.write_text(BEHIND.format(file=file))
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step in QUICK else pytest.mark.full) for step in CASES]
)
def test_a_crash_after_any_step_changes_nothing_about_the_end(step: str, world: SlurmWorld) -> None:
    case = CASES[step]
    before = submitted(world)
    with deadly(world, case) as service:
        service.start(arguments=(step,), wait=step != "lrm.purge")
        if case.busy:
            hog(service, 300, "-N2", "-n2", "-t6")
            service.wait(lambda: world.node_states()["node1"] != "idle", "the other user's job")
        lease = tell(service, case)
        service.wait_for_death()
        (world.jobs / "squeue.well").touch()
        if "Running" in case.states:
            world.run_in_head(["scancel", "-u", "other"])
        service.start()
        again = tell(service, case)
        assert again is not None
        assert lease is None or again.resources == lease.resources
        comes_to(service, again, case.states)
        if "Running" in case.states or "Paused" in case.states:
            again.whole.destroy()
        assert_nothing_is_left(service, case, before)
        service.stop()


def comes_to(service: LrmService, lease: Lease, wanted: tuple[str, ...]) -> None:
    """Wait until the lease's workspaces are in these states; fails with the ones they are in."""
    deadline = time.monotonic() + SECONDS
    while (found := states(lease)) != wanted:
        assert time.monotonic() < deadline, (found, service.admin("workspace.list"), service.log)
        time.sleep(0.05)


def tell(service: LrmService, case: Case) -> Lease | None:
    """Go through the story as far as the service lives; return the lease if its answer came."""
    lease = None
    with contextlib.suppress(FlyingLowError):
        request = {"duration": 600, **case.request}
        lease = service.site.create(list(case.parts), name="wn", token="one-lease", **request)
        case.act(service, lease)
    return lease


def states(lease: Lease) -> tuple[str, ...]:
    """Return the states of all workspaces, with what they are at."""
    found = [resource.properties() for resource in lease.resources.values() if resource.kind == "workspace"]
    return tuple(sorted(each.state if each.task is None else f"{each.state}/{each.task}" for each in found))


def submitted(world: Any) -> Counter[str]:
    """Return how many jobs there are, over ones too, of each name of ours."""
    listed = world.run_in_head(["squeue", "-h", "--states=all", "-u", "lease", "-o", "%j"]).stdout
    return Counter(listed.split())


def assert_nothing_is_left(service: LrmService, case: Case, before: Counter[str]) -> None:
    """Hold the site against an untouched one: rows, jobs, nodes; and every job must have been asked for once."""
    if case.busy:
        service.world.run_in_head(["scancel", "-u", "other"])
    if case.dirty:
        service.wait(lambda: not mine(service), "the end of the jobs")
        for node in service.world.names:
            service.world.run_on(node, [NODECTL, "kill-all"])
    calm(service)
    made = submitted(service.world) - before
    assert set(made.values()) <= {1}, made
    assert len(made) <= 1, made


def test_a_crash_while_jobs_are_asked_for_ahead_of_need_asks_for_them_once(world: SlurmWorld) -> None:
    ahead = {"policy": "proactive", "policy_options": {"slots": 1, "memory_mb": 128, "seconds": 3600}}
    before = submitted(world)
    with deadly(world, Case(states=()), **ahead) as service:
        service.start(arguments=("lrm.ask_ahead",), wait=False)
        service.wait_for_death()
        service.start()
        service.wait(lambda: len(service.slots("Ready")) == 1, "the slot that is held ready")
        assert set((submitted(world) - before).values()) == {1}
        assert len(submitted(world) - before) == 1
        service.stop()
        world.run_in_head(["scancel", "-u", "lease"])
        dismiss(service)


@pytest.mark.full
def test_a_crash_of_a_claim_that_gives_way_to_an_older_one_loses_neither(world: SlurmWorld) -> None:
    """The older waits for its second node, whose submit got lost; the younger has one node and gives it back."""
    sizes = [part(1, 128, "small"), part(1, 512, "large")]
    options = {"heterogeneous": False, "hold_limit": 6.0, "command_timeout": 8.0, "submit_grace": 10.0}
    before = submitted(world)
    with deadly(world, Case(states=(), sbatch=""), **options) as service:
        service.start(arguments=("lrm.queue_again",))
        leases = [service.site.create(sizes, name=name, token=name, duration=600) for name in ("older", "younger")]
        service.wait_for_death()
        service.start()
        leases[0].whole.wait("Running", timeout=120)
        leases[0].whole.destroy()
        leases[1].whole.wait("Running", timeout=120)
        leases[1].whole.destroy()
        calm(service)
        assert set((submitted(world) - before).values()) == {1}
        service.stop()

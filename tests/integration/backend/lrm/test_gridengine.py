"""The adapter on a real Grid Engine of four hosts: where pilots run, what they hear, and who can see the job's key."""

import dataclasses
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import reactor

from flyinglow.backend.lrm.gridengine.adapter import GridEngine
from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.backend.testing import ReactorThread
from flyinglow.cli.demo.gridengine_world import USERS, GridEngineWorld
from flyinglow.nodectl.errors import DeniedError, TransientError
from rigs.gridengine import gridengine_world, terms
from rigs.lrm_benches import LrmBench
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("gridengine")]
NOTIFY = 4
KEY = secrets.token_hex(16)  # in no file of anybody's before
SUDO = 'lease ALL=(root) NOPASSWD: /usr/bin/id ""'


@pytest.fixture(scope="module")
def world() -> Iterator[GridEngineWorld]:
    """A Grid Engine for all tests here, on which every test leaves the hosts free."""
    with gridengine_world(nodes=4, notify=NOTIFY, sudoers=(SUDO,)) as made:
        yield made


@pytest.fixture
def bench(world: GridEngineWorld) -> Iterator[LrmBench]:
    """The adapter for our user, all of whose jobs are deleted in the end."""
    yield _bench(world)
    for user in USERS:
        world.run_in_head(["qdel", "-u", user], check=False)
    eventually(lambda: not world.run_in_head(["qstat", "-u", "*"]).stdout)


def _bench(world: GridEngineWorld, **changes: Any) -> LrmBench:
    lrm = CommandLrm(GridEngine(terms(world, **changes)), reactor)
    return LrmBench("gridengine", lrm, world.jobs, ReactorThread.get().run)


def test_nobody_sees_the_jobs_key(world: GridEngineWorld, bench: LrmBench) -> None:
    """Not in a process's arguments or environment, nor in what Grid Engine tells of the job, nor in its log."""
    lrm_id = bench.submit(bench.request("secret01", (4, 400, 1), key="THE-JOBS-KEY"))
    pilots = bench.pilots("secret01", 4)
    assert {pilot["key"] for pilot in pilots} == {"THE-JOBS-KEY"}
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '"
    for node in world.names:
        seen = world.run_on(node, ["sh", "-c", look], check=False).stdout
        assert "fl-secret01" in seen  # the look was at this job
        assert "THE-JOBS-KEY" not in seen
    for argv in (["qstat", "-j", lrm_id], ["qstat", "-xml", "-j", lrm_id]):
        told = world.run_in_head(argv, user="other").stdout
        assert "fl-secret01" in told
        assert "THE-JOBS-KEY" not in told
    assert "THE-JOBS-KEY" not in (world.jobs / "fl-secret01.log").read_text()


def test_no_other_user_can_read_the_jobs_key_anywhere(world: GridEngineWorld, bench: LrmBench) -> None:
    """In no file of Grid Engine's or of ours, while the job waits, runs and after it; nor is a file of ours left."""
    inside = GridEngine(terms(world, commands={}, shared_directory=str(world.jobs)))
    call = inside.submit(bench.request("secret02", (4, 400, 1), key=KEY))
    world.run_in_head(["qmod", "-d", "batch"])
    lrm_id = world.run_in_head(call.argv, user="lease", text=call.stdin.decode()).stdout.strip()
    try:
        assert bench.says(lrm_id) is LrmSays.WAITING
        assert _readable(world, KEY) == []
        assert [path.name for path in world.jobs.glob(".fl-*")] == [".fl-secret02"]
    finally:
        world.run_in_head(["qmod", "-e", "batch"])
    pilots = bench.pilots("secret02", 4)
    assert {pilot["key"] for pilot in pilots} == {KEY}
    _hide_notes(world, "secret02")
    assert _readable(world, "fl-secret02")  # the look finds the job's script
    assert _readable(world, KEY) == []
    assert list(world.jobs.glob(".fl-*")) == []
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    bench.over(lrm_id)
    assert _readable(world, KEY) == []


def test_without_a_shared_directory_others_can_read_the_key_and_the_site_is_told(
    world: GridEngineWorld, bench: LrmBench
) -> None:
    lrm_id = bench.submit(bench.request("secret03", (2, 400, 1), key=KEY))
    bench.pilots("secret03", 2)
    _hide_notes(world, "secret03")
    assert any("job_scripts" in path for path in _readable(world, KEY))
    survey = bench.run(bench.lrm.survey)
    assert any("shared_directory" in finding for finding in survey.findings)
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    bench.over(lrm_id)


def _readable(world: GridEngineWorld, text: str) -> list[str]:
    """Return the files with such a text that another user can read, on any machine of the cluster."""
    places = [str(world.directory / place) for place in ("spool", "ge", "jobs", "tmp", "log")] + ["/tmp", "/run"]
    argv = ["timeout", "30", "grep", "-rlsI", "--devices=skip", "--exclude-dir=packages", text, *places]
    found = world.run_in_head(argv, user="other", check=False).stdout.split()
    for node in world.names:
        found += world.run_on(node, argv, user="other", check=False).stdout.split()
    return sorted(set(found))


def _hide_notes(world: GridEngineWorld, tag: str) -> None:
    """Hide what the stand-in pilots write down, which a real pilot does not."""
    (world.jobs / tag).chmod(0o700)


def test_every_pilot_hears_the_notice_and_is_killed_later(bench: LrmBench) -> None:
    """All at once, by Grid Engine's own signal; those that stay are killed when the queue's time is over."""
    lrm_id = bench.submit(bench.request("notified", (4, 400, 1), grace=60, stay=120))
    bench.pilots("notified", 4)
    began = time.time()
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    heard = bench.pilots("notified", 4, "signal")
    assert {note["number"] for note in heard} == {12}
    view = bench.view(lrm_id)
    assert view.says is LrmSays.ENDING
    bench.over(lrm_id)
    assert time.time() - began >= NOTIFY - 0.5


def test_a_pilot_of_any_size_reaches_every_host(bench: LrmBench) -> None:
    """Grid Engine's own transport hangs on more than 64 kB that come too early."""
    request = bench.request("bigpilot", (4, 400, 1))
    big = request.program + b"\n# " + b"x" * 300_000 + b"\n"
    bench.submit(dataclasses.replace(request, program=big))
    assert len(bench.pilots("bigpilot", 4)) == 4


def test_a_pilot_can_use_sudo(world: GridEngineWorld, bench: LrmBench) -> None:
    """As an unprivileged job, without a terminal."""
    request = bench.request("sudoable", (2, 400, 1))
    program = b"""
import json, os, subprocess, sys
to = json.loads(sys.stdin.readline())["directory"]
said = subprocess.run(["sudo", "-n", "id"], capture_output=True, text=True)
open(os.path.join(to, f"{sys.argv[2]}.txt"), "w").write(f"{os.getuid()} {said.stdout}{said.stderr}")
"""
    lrm_id = bench.submit(dataclasses.replace(request, program=program))
    bench.over(lrm_id)
    for rank in range(2):
        text = (bench.jobs / "sudoable" / f"{rank}.txt").read_text()
        assert text.startswith(f"{USERS['lease']} uid=0(root)"), text


def test_the_time_limit_gives_notice_as_well(bench: LrmBench) -> None:
    """The listing tells how long is left, and the pilots hear of the end before it comes."""
    bench.submit(bench.request("shortone", (2, 400, 1), seconds=12))
    first = bench.pilots("shortone", 2)
    lefts = [view.left for view in bench.run(bench.lrm.list) if view.tag == "shortone"]
    assert all(left is not None and left <= 12 for left in lefts)
    heard = bench.pilots("shortone", 2, "signal")
    assert min(note["at"] for note in heard) - min(note["at"] for note in first) > 1


def test_a_job_that_cannot_start_has_ended_and_can_be_deleted(world: GridEngineWorld, bench: LrmBench) -> None:
    """Grid Engine keeps it in its error state for ever."""
    broken = _bench(world, directory="/nowhere/at/all")
    lrm_id = broken.submit(bench.request("cannotgo", (1, 400, 1)))
    view = eventually(lambda: (now := bench.view(lrm_id)) and now.says is LrmSays.ENDED and now)
    assert (view.native, "error state" in view.reason) == ("Eqw", True)
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    eventually(lambda: bench.says(lrm_id) is LrmSays.GONE)


def test_only_our_users_jobs_are_listed_and_no_other_can_be_cancelled(world: GridEngineWorld, bench: LrmBench) -> None:
    """Whatever their names are."""
    words = ["qsub", "-terse", "-wd", "/tmp", "-o", "/dev/null", "-j", "y", "-N", "fl-abcdefgh"]
    theirs = world.run_in_head(words, user="other", text="#!/bin/sh\nsleep 60\n").stdout.strip()
    assert bench.view(theirs) is None
    with pytest.raises(DeniedError):
        bench.run(lambda: bench.lrm.cancel(theirs))
    assert theirs in world.run_in_head(["qstat", "-u", "other"]).stdout


def test_a_master_that_is_away_ends_nothing(world: GridEngineWorld, bench: LrmBench) -> None:
    """Nothing is listed rather than an empty list; the pilots run on, and the job has its old number afterwards."""
    lrm_id = bench.submit(bench.request("outlives", (2, 400, 1)))
    pilots = bench.pilots("outlives", 2)
    world.stop_controller()
    try:
        with pytest.raises(TransientError):
            bench.run(bench.lrm.list)
        with pytest.raises(TransientError):
            bench.submit(bench.request("nomaster", (1, 400, 1)))
        with pytest.raises(TransientError):
            bench.run(lambda: bench.lrm.cancel(lrm_id))
    finally:
        world.start_controller()
    assert eventually(lambda: bench.view(lrm_id)).says is LrmSays.RUNNING
    for pilot in pilots:
        world.run_on(pilot["host"], ["kill", "-0", str(pilot["pid"])])


def test_a_crashed_host_leaves_its_job_listed(world: GridEngineWorld, bench: LrmBench) -> None:
    """Grid Engine goes on saying that it runs, or that it is being deleted, until the host is back."""
    lrm_id = bench.submit(bench.request("powerless", (4, 400, 1)))
    view = eventually(lambda: (now := bench.view(lrm_id)) and len(now.nodes) == 4 and now)
    bench.pilots("powerless", 4)
    master = world.run_in_head(["qstat", "-u", "lease"]).stdout.splitlines()[-1].split("@")[1].split()[0]
    victim = next(node for node in view.nodes if node != master)
    world.crash(victim)
    try:
        assert bench.says(lrm_id) is LrmSays.RUNNING
        bench.run(lambda: bench.lrm.cancel(lrm_id))
        assert bench.says(lrm_id) is LrmSays.ENDING
    finally:
        world.boot(victim)
    bench.over(lrm_id)
    world.wait_idle()

"""The PBS adapter on the pretended Torque: its late signals, lost answers, and a key that is on no disk for long."""

import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor

from flyinglow.backend.lrm.pbs.adapter import Pbs
from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import NeverError, TransientError
from rigs.lrm_benches import LrmBench
from rigs.torque_rig import TorqueRig, torque
from rigs.waiting import eventually

KILL_DELAY = 2


@pytest.fixture
def rig() -> Iterator[TorqueRig]:
    """Four nodes that tell their pilots late."""
    with torque(kill_delay=KILL_DELAY, kill_after=2, queue_wait=0) as made:
        yield made


def _bench(rig: TorqueRig, timeout: float = 30) -> LrmBench:
    site = rig.terms()
    adapter = Pbs(site, user=rig.environment["USER"])
    lrm = CommandLrm(adapter, reactor, environment=site.environment, timeout=timeout)
    return LrmBench("torque", lrm, rig.jobs, ReactorThread.get().run)


@pytest.fixture
def bench(rig: TorqueRig) -> LrmBench:
    """The adapter over it."""
    return _bench(rig)


def streams(rig: TorqueRig) -> list[Path]:
    """Return the files that hold a job's settings now."""
    return list(rig.jobs.glob(".fl-*/stream"))


def test_the_key_lies_in_a_private_file_until_every_pilot_has_it(rig: TorqueRig, bench: LrmBench) -> None:
    """Nobody else can read it, no process shows it, and it is gone while the pilots still run."""
    rig.ctl("set", "start_delay=2")
    bench.submit(bench.request("private1", (4, 400, 1), key="THE-JOBS-KEY"))
    seen = eventually(lambda: [(path.parent.stat().st_mode, path.stat().st_mode) for path in streams(rig)])
    assert [tuple(map(stat.S_IMODE, modes)) for modes in seen] == [(0o700, 0o600)]
    assert {pilot["key"] for pilot in bench.pilots("private1", 4)} == {"THE-JOBS-KEY"}
    eventually(lambda: not streams(rig))
    shown = subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "fl-private1" in shown
    assert "THE-JOBS-KEY" not in shown
    assert "THE-JOBS-KEY" not in rig.run("qstat", "-f").stdout


def test_a_job_leaves_nothing_behind(rig: TorqueRig, bench: LrmBench) -> None:
    """Whether it ended by itself or was cancelled."""
    ended = bench.submit(bench.request("tidyup01", (2, 400, 1), stay=0.2))
    bench.pilots("tidyup01", 2)
    bench.over(ended)
    cancelled = bench.submit(bench.request("tidyup02", (2, 400, 1)))
    bench.pilots("tidyup02", 2)
    bench.run(lambda: bench.lrm.cancel(cancelled))
    bench.over(cancelled)
    assert not list(rig.jobs.glob(".fl-*"))


def test_the_first_node_hears_at_once_and_the_others_when_the_delay_is_over(bench: LrmBench) -> None:
    """Torque's way: whoever hears first must tell the rest; the script itself outlives the signals."""
    lrm_id = bench.submit(bench.request("latenews", (4, 400, 1), grace=60))
    bench.pilots("latenews", 4)
    began = time.time()
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    heard = [note["at"] - began for note in bench.pilots("latenews", 4, "signal")]
    assert heard[0] < min(heard[1:])
    assert min(heard[1:]) > KILL_DELAY - 0.1
    bench.over(lrm_id)


def test_a_submit_without_an_answer_is_found_by_its_name(rig: TorqueRig) -> None:
    """The adapter says that it does not know, and the next listing does."""
    rig.ctl("fail-next-submit", "300")
    hasty = _bench(rig, timeout=4)
    with pytest.raises(TransientError):
        hasty.submit(hasty.request("lostword", (2, 400, 1)))
    tags = [view.tag for view in hasty.run(hasty.lrm.list)]
    assert tags == ["lostword"]


def test_a_server_that_is_away_ends_nothing(rig: TorqueRig, bench: LrmBench) -> None:
    """Nothing is listed rather than an empty list."""
    lrm_id = bench.submit(bench.request("stillhere", (2, 400, 1)))
    bench.pilots("stillhere", 2)
    rig.ctl("set", "down_hang=0.1")
    rig.ctl("down", "600")
    with pytest.raises(TransientError):
        bench.run(bench.lrm.list)
    with pytest.raises(TransientError):
        bench.run(lambda: bench.lrm.cancel(lrm_id))
    rig.ctl("down", "0")
    eventually(lambda: rig.run("qstat").returncode == 0)
    assert bench.says(lrm_id) is LrmSays.RUNNING


def test_what_the_queue_forbids_is_never(rig: TorqueRig, bench: LrmBench) -> None:
    """Its limit is known from the survey, and named when a job is too long all the same."""
    rig.ctl("set", "longest=600")
    survey = bench.run(bench.lrm.survey)
    (queue,) = survey.queues
    assert (queue.name, queue.nodes, queue.memory_mb, queue.max_seconds) == ("batch", 4, 2000, 600)
    with pytest.raises(NeverError, match="walltime"):
        bench.submit(bench.request("toolong1", (1, 400, 1), seconds=601))
    bench.submit(bench.request("fitsfine", (1, 400, 1), seconds=600))


def test_held_and_crashed_jobs_are_what_torque_says(rig: TorqueRig, bench: LrmBench) -> None:
    """A held job waits with its reason; one whose other node lost power runs on as far as anyone can tell."""
    rig.ctl("hold")
    waiting = bench.submit(bench.request("heldback", (2, 400, 1)))
    view = bench.view(waiting)
    assert (view.says, bool(view.reason)) == (LrmSays.WAITING, True)
    rig.ctl("release")
    bench.pilots("heldback", 2)
    rig.ctl("crash-node", "2")
    assert bench.says(waiting) is LrmSays.RUNNING

"""The pretended Torque: it must signal, hold, lose and fail as its README says, or tests over it prove nothing."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rigs.torque_rig import TorqueRig, torque
from rigs.waiting import eventually

PILOT = """
import os, signal, sys, time
fd = os.open(os.path.join(sys.argv[1], os.environ["FAKE_TORQUE_NODE"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
say = lambda word: os.write(fd, f"{time.time()} {word}\\n".encode())
signal.signal(signal.SIGTERM, lambda *_: say("TERM"))
say("up")
while True:
    time.sleep(0.02)
    say("beat")
"""
SCRIPT = """#!/bin/sh
trap : TERM
echo hello; cat $PBS_NODEFILE
pbsdsh -u /usr/bin/python3 {d}/pilot.py {d}/seen & p=$!
while kill -0 $p 2>/dev/null; do wait $p; done
"""


@pytest.fixture
def rig() -> Iterator[TorqueRig]:
    """Four nodes, a grace of 1.5 s, SIGKILL 1 s later."""
    with torque(kill_delay=1.5, kill_after=1, queue_wait=0) as made:
        (made.directory / "seen").mkdir()
        (made.directory / "pilot.py").write_text(PILOT)
        (made.directory / "job.sh").write_text(SCRIPT.format(d=made.directory))
        yield made


def submit(rig: TorqueRig, *extra: str, nodes: str = "4:ppn=2") -> str:
    """Submit the job with the pilots."""
    limits = f"nodes={nodes},walltime=300,mem=100mb"
    words = ["-l", limits, "-r", "n", "-j", "oe", "-N", "lease-1", "-q", "batch", "-A", "proj", "-o", "out", *extra]
    done = rig.run("qsub", *words, str(rig.directory / "job.sh"))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def seen(rig: TorqueRig, word: str) -> dict[str, list[float]]:
    """Return when each node's pilot said that word, for nodes that did."""
    found = {}
    for path in (rig.directory / "seen").iterdir():
        lines = [line.split() for line in path.read_text().splitlines()]
        if times := [float(line[0]) for line in lines if line[1:] == [word]]:
            found[path.name] = times
    return found


def gone(rig: TorqueRig, job: str) -> Callable[[], bool]:
    """Say whether qstat knows the job no more."""
    return lambda: rig.run("qstat", job).returncode == 153


def pilots(rig: TorqueRig) -> None:
    """Wait for all four."""
    eventually(lambda: len(seen(rig, "up")) == 4)


def test_a_job_from_standard_input_has_torques_environment(rig: TorqueRig) -> None:
    """Resources may stand in the script, and several lists of them add up."""
    text = (
        "#PBS -l nodes=2:ppn=2\necho $A $PBS_JOBID $PBS_NUM_NODES; cat $PBS_NODEFILE; "
        "pbsdsh -u sh -c 'echo $FAKE_TORQUE_NODE $PBS_NODENUM'\nexit 3\n"
    )
    done = rig.run("qsub", "-l", "walltime=00:01:00", "-v", "A=b,C", "-j", "oe", "-N", "x", stdin=text)
    assert done.stdout == "1.server\n"
    output = rig.directory / "x.o1"
    eventually(output.exists)
    lines = output.read_text().split("\n")
    assert lines[:5] == ["b 1.server 2", "node1", "node1", "node2", "node2"]
    assert sorted(lines[5:7]) == ["node1 0", "node2 1"]
    eventually(lambda: json.loads(rig.ctl("show"))["jobs"]["1"].get("exit") == 3)


@pytest.mark.parametrize(
    "words", [["-l", "walltime=x"], ["-l", "nodes=9"], ["-l", "nodes=1:gpu"], ["-N", "1x"], ["-Y"]]
)
def test_what_torque_refuses_is_refused(rig: TorqueRig, words: list[str]) -> None:
    """At submission."""
    assert rig.run("qsub", *words, stdin="true\n").returncode != 0


def test_listings_have_torques_form(rig: TorqueRig) -> None:
    """Long values go on after a tab."""
    job = submit(rig)
    pilots(rig)
    full = rig.run("qstat", "-f", job).stdout.replace("\n\t", "")
    for line in ("job_state = R", "Job_Name = lease-1", "Account_Name = proj", "Resource_List.mem = 100mb"):
        assert f"    {line}\n" in full
    assert "exec_host = node1/1+node1/0+node2/1+node2/0+node3/1+node3/0+node4/1+node4/0\n" in full
    assert "state = job-exclusive" in rig.run("pbsnodes", "node2").stdout
    unknown = rig.run("qdel", "77")
    assert (unknown.returncode, unknown.stderr) == (153, "qdel: Unknown Job Id 77.server\n")
    denied = rig.run("qalter", "-l", "walltime=9", job)
    assert (denied.returncode, "Unauthorized" in denied.stderr) == (159, True)


def test_qdel_tells_the_first_node_at_once_and_the_others_late(rig: TorqueRig) -> None:
    """As it was measured: a burst of SIGTERM, one for the others at kill_delay, SIGKILL for all after that."""
    job = submit(rig)
    pilots(rig)
    began = time.time()
    assert rig.run("qdel", job).returncode == 0
    eventually(gone(rig, job))
    term = {node: [at - began for at in times] for node, times in seen(rig, "TERM").items()}
    burst = [at for at in term["node1"] if at < 1]
    assert len(burst) > 10  # signals may merge
    assert burst[-1] - burst[0] < 0.5
    for node in ("node2", "node3", "node4"):
        assert len(term[node]) == 1
        assert 1.5 < term[node][0] < 3.5
        assert seen(rig, "beat")[node][-1] - began > 2.5


def test_a_limit_is_enforced_late(rig: TorqueRig) -> None:
    """The others hear of it later still."""
    rig.ctl("set", "wall_late=1.5", "wall_sister_late=0.5")
    submit(rig, "-l", "walltime=1")
    pilots(rig)
    eventually(lambda: len(seen(rig, "TERM")) == 4)
    term = {node: times[0] for node, times in seen(rig, "TERM").items()}
    assert term["node4"] - term["node1"] > 1.5


def test_an_accepted_job_whose_submit_never_answers_is_there(rig: TorqueRig) -> None:
    """The client gives up; the job is found by its name."""
    rig.ctl("fail-next-submit")
    with pytest.raises(subprocess.TimeoutExpired):
        rig.run("qsub", "-l", "nodes=1", "-N", "lease-7", str(rig.directory / "job.sh"), timeout=1.5)
    assert "lease-7" in rig.run("qstat").stdout
    rig.ctl("fail-next-submit", "0.2")
    assert rig.run("qsub", "-N", "lease-8", stdin="sleep 9").returncode == 110
    assert "lease-8" in rig.run("qstat").stdout


def test_jobs_are_rejected_held_lost_and_die(rig: TorqueRig) -> None:
    """Each when it was asked for."""
    rig.ctl("reject")
    assert rig.run("qsub", stdin="true").returncode == 193
    rig.ctl("hold")
    job = submit(rig)
    assert " Q batch" in rig.run("qstat").stdout
    rig.ctl("release")
    pilots(rig)
    rig.ctl("lose", job)
    assert gone(rig, job)()
    beats = len(seen(rig, "beat")["node3"])
    eventually(lambda: len(seen(rig, "beat")["node3"]) > beats)  # the job itself lives on
    rig.ctl("set", "nodes=8")
    rig.ctl("die-next")
    job = submit(rig)
    eventually(gone(rig, job))
    assert json.loads(rig.ctl("show"))["jobs"][job.split(".")[0]]["exit"] == -3


def test_a_server_is_slow_or_away(rig: TorqueRig) -> None:
    """A command hangs before it fails."""
    rig.ctl("slow", "0.7")
    began = time.time()
    assert rig.run("qstat").returncode == 0
    assert time.time() - began > 0.7
    rig.ctl("slow", "0")
    rig.ctl("set", "down_hang=0.3")
    rig.ctl("down", "1.5")
    done = rig.run("qstat", "1")
    assert (done.returncode, "cannot connect to server" in done.stderr) == (111, True)
    eventually(lambda: rig.run("qstat").returncode == 0)


def test_a_node_without_power_tells_nobody(rig: TorqueRig) -> None:
    """The job stays R; with its first node gone it cannot be deleted until that one is back."""
    job = submit(rig)
    pilots(rig)
    rig.ctl("crash-node", "3")
    assert seen(rig, "TERM") == {}
    assert not gone(rig, job)()
    assert rig.run("pbsnodes", "-l").stdout.split() == ["node3", "down"]
    rig.ctl("crash-node", "1")
    eventually(lambda: rig.run("qdel", job).returncode == 224)
    rig.ctl("boot-node", "1")
    eventually(gone(rig, job))


def test_shutdown_ends_everything(rig: TorqueRig) -> None:
    """Also what left its session, and a runner that is stopped."""
    job = submit(rig, nodes="2")
    eventually(lambda: len(seen(rig, "up")) == 2)
    stray = rig.directory / "stray"
    rig.run("qsub", "-N", "x", stdin=f"setsid sh -c 'while :; do sleep 0.1; date > {stray}; done' & sleep 1")
    eventually(stray.exists)
    runner = json.loads(rig.ctl("show"))["jobs"][job.split(".")[0]]["runner"][0]
    os.kill(runner, signal.SIGSTOP)
    rig.ctl("shutdown")
    eventually(lambda: not Path(f"/proc/{runner}/exe").exists())  # dead, if perhaps a zombie yet
    eventually(gone(rig, job))
    touched = stray.stat().st_mtime
    eventually(lambda: time.time() - touched > 1)
    assert stray.stat().st_mtime == touched

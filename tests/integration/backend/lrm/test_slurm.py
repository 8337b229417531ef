"""The adapter on a real Slurm of four nodes: where pilots run, what they hear, and who can see the job's key."""

import time
from collections.abc import Iterator

import pytest
from twisted.internet import reactor

from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.lrm.slurm.adapter import Slurm
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.backend.testing import ReactorThread
from flyinglow.cli.demo.slurm_conf import PREEMPTION
from flyinglow.cli.demo.slurm_world import USERS, SlurmWorld
from flyinglow.nodectl.errors import DeniedError, NeverError, TransientError
from rigs.lrm_benches import LrmBench, slurm
from rigs.slurm import slurm_world, terms
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("slurm")]
KILL_WAIT = 40  # seconds; nothing here waits for it
SUDO = 'lease ALL=(root) NOPASSWD: /usr/bin/id ""'


@pytest.fixture(scope="module")
def world() -> Iterator[SlurmWorld]:
    """A Slurm for all tests here, on which every test leaves the nodes free."""
    partition = "PreemptMode=CANCEL GraceTime=0 MaxTime=INFINITE"
    lines = (*PREEMPTION, "PartitionName=short Nodes=node[1-2] MaxTime=10 State=UP")
    with slurm_world(kill_wait=KILL_WAIT, partition=partition, lines=lines, sudoers=(SUDO,)) as made:
        yield made


@pytest.fixture
def bench(world: SlurmWorld) -> Iterator[LrmBench]:
    """The adapter for our user, all of whose jobs are cancelled in the end."""
    yield made(world)
    for user in USERS:
        world.run_in_head(["scancel", "-u", user])
    eventually(lambda: not world.run_in_head(["squeue", "-h"]).stdout)
    world.wait_idle()


def made(world: SlurmWorld, queue: str | None = None) -> LrmBench:
    """Make a bench of a running Slurm."""
    lrm = CommandLrm(Slurm(terms(world, queue=queue)), reactor)
    return LrmBench("slurm", lrm, world.jobs, ReactorThread.get().run)


def other_job(world: SlurmWorld, *options: str) -> str:
    """Submit a job of another user."""
    words = ["sbatch", "--parsable", f"-D{world.jobs}", "-o/dev/null", "-Jfl-othersjob", "-t5", *options]
    return world.run_in_head(words, user="other", text="#!/bin/sh\nsleep 280\n").stdout.strip()


def test_pilots_run_unprivileged_on_nodes_of_their_own(bench: LrmBench) -> None:
    """As our user, with the CPUs of their slot, on a machine of the node's name."""
    bench.submit(bench.request("wheretheyrun", (2, 400, 1), (2, 600, 2)))
    pilots = bench.pilots("wheretheyrun", 4)
    assert [pilot["rank"] for pilot in pilots] == [0, 1, 2, 3]
    assert all(pilot["host"] == pilot["node"] for pilot in pilots)
    assert {pilot["user"] for pilot in pilots} == {USERS["lease"]}
    assert len({pilot["node"] for pilot in pilots}) == 4


def test_nobody_sees_the_key(bench: LrmBench, world: SlurmWorld) -> None:
    """It is in no argument list or environment of any process of any node, and in nothing that Slurm tells others."""
    lrm_id = bench.submit(bench.request("secretkey", (2, 400, 1)))
    key = "key-of-secretkey"
    pilots = bench.pilots("secretkey", 2)
    assert all(pilot["key"] == key for pilot in pilots)
    for node in ("head", *(pilot["node"] for pilot in pilots)):
        run = world.run_in_head if node == "head" else lambda words, node=node: world.run_on(node, words)
        seen = run(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'"]).stdout
        assert "slurm" in seen
        assert key not in seen
    for words in (["scontrol", "show", "job", lrm_id], ["squeue", "-o", "%all"]):
        told = world.run_in_head(words, user="other").stdout
        assert "secretkey" in told
        assert key not in told
    peek = world.run_in_head(["scontrol", "write", "batch_script", lrm_id, "-"], user="other", check=False)
    assert key not in peek.stdout + peek.stderr


def test_a_pilot_reaches_root_by_the_one_rule_it_has(world: SlurmWorld, bench: LrmBench) -> None:
    """sudo works in a job, for what the rule names, and for nothing else."""
    words = ["srun", "-N1", "sh", "-c", "sudo -n id; sudo -n ls / || echo refused"]
    said = world.run_in_head(words, user="lease").stdout
    assert said.startswith("uid=0(root)")
    assert said.endswith("refused\n")


def test_every_pilot_hears_of_a_cancel_and_has_its_grace(bench: LrmBench) -> None:
    """At nearly the same moment, in all parts of the job, and time to end by itself."""
    lrm_id = bench.submit(bench.request("hearing", (2, 400, 1), (2, 600, 2), grace=1.5))
    bench.pilots("hearing", 4)
    began = time.time()
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    heard = [note["at"] for note in bench.pilots("hearing", 4, "signal")]
    assert max(heard) - began < KILL_WAIT - 1  # their kill would come after that
    ended = [note["at"] for note in bench.pilots("hearing", 4, "end")]
    assert min(ended) - min(heard) > 1.4  # nobody was killed meanwhile
    bench.over(lrm_id)
    assert bench.view(lrm_id).native == "CANCELLED"


def test_one_pilots_end_is_not_the_end_of_the_others(bench: LrmBench, world: SlurmWorld) -> None:
    """However it ended: the other one hears nothing and goes on to its own end."""
    lrm_id = bench.submit(bench.request("oneends", (2, 400, 1), stay=5))
    pilots = bench.pilots("oneends", 2)
    world.run_on(pilots[0]["node"], ["kill", "-KILL", str(pilots[0]["pid"])])
    (ended,) = bench.pilots("oneends", 1, "end")
    assert ended["at"] - pilots[1]["at"] >= 5
    assert not bench.pilots("oneends", 0, "signal")
    bench.over(lrm_id)


def test_a_signal_to_the_script_is_not_the_end_of_the_pilots(bench: LrmBench, world: SlurmWorld) -> None:
    """The script waits on; a site may send its warnings there."""
    lrm_id = bench.submit(bench.request("toscript", (2, 400, 1), stay=5))
    bench.pilots("toscript", 2)
    for name in ("TERM", "USR1", "INT"):
        world.run_in_head(["scancel", "--batch", f"--signal={name}", lrm_id], user="lease")
    ended = bench.pilots("toscript", 2, "end")
    assert len(ended) == 2
    assert not bench.pilots("toscript", 0, "signal")
    bench.over(lrm_id)
    assert bench.view(lrm_id).native == "COMPLETED"


def test_other_users_jobs_are_none_of_ours(bench: LrmBench, world: SlurmWorld) -> None:
    """Not even with our kind of name; they only make ours wait, which has its reason."""
    theirs = other_job(world, "-N4")
    lrm_id = bench.submit(bench.request("ours", (1, 400, 1)))
    view = eventually(lambda: (now := bench.view(lrm_id)) and now.reason not in {"", "None"} and now)
    assert view.says is LrmSays.WAITING
    assert view.reason in {"Resources", "Priority"}
    estimated = eventually(lambda: (now := bench.view(lrm_id)) and now.starts_in is not None and now)
    assert 0 <= estimated.starts_in <= 420
    assert theirs not in {view.lrm_id for view in bench.run(bench.lrm.list)}
    with pytest.raises((DeniedError, TransientError)):
        bench.run(lambda: bench.lrm.cancel(theirs))


def test_a_dry_run_of_every_kind(bench: LrmBench, world: SlurmWorld) -> None:
    """When it could start, and what could never."""
    assert bench.run(lambda: bench.lrm.rehearse(bench.request("dry", (1, 400, 1)))).starts_in < 30
    other_job(world, "-N4")
    eventually(lambda: "allocated" in world.node_states().values())
    assert 30 < bench.run(lambda: bench.lrm.rehearse(bench.request("dry", (1, 400, 1)))).starts_in < 420
    for size in ((1, 400, 64), (1, 99999, 1), (5, 400, 1)):
        with pytest.raises(NeverError):
            bench.run(lambda size=size: bench.lrm.rehearse(bench.request("dry", size)))
    with pytest.raises(NeverError):
        bench.run(lambda: bench.lrm.rehearse(bench.request("dry", (1, 400, 1), (1, 99999, 1))))


def test_a_longer_limit_is_the_operators_to_give(bench: LrmBench, world: SlurmWorld) -> None:
    """An ordinary user is denied; what an operator did shows in the listing."""
    lrm_id = bench.submit(bench.request("longer", (1, 400, 1), (1, 600, 1), seconds=120))
    bench.pilots("longer", 2)
    with pytest.raises(DeniedError):
        bench.run(lambda: bench.lrm.extend(lrm_id, 3600))
    operator = CommandLrm(Slurm(terms(world, "root")), reactor)
    bench.run(lambda: operator.extend(lrm_id, 3600))
    assert bench.view(lrm_id).left > 3000


def test_a_preempted_job_is_told_and_listed_as_such(bench: LrmBench, world: SlurmWorld) -> None:
    """By a job of a higher partition; pilots hear it like a cancel."""
    lrm_id = bench.submit(bench.request("preempt", (4, 400, 1)))
    bench.pilots("preempt", 4)
    other_job(world, "-N4", "-purgent")
    bench.pilots("preempt", 4, "signal")
    bench.over(lrm_id)
    assert bench.view(lrm_id).native == "PREEMPTED"


def test_pilots_killed_without_warning_end_the_job(bench: LrmBench, world: SlurmWorld) -> None:
    """By a signal to the steps' launcher as well, which then kills them unheard."""
    lrm_id = bench.submit(bench.request("unheard", (2, 400, 1), grace=3))
    bench.pilots("unheard", 2)
    world.run_in_head(["scancel", "--full", "--signal=TERM", lrm_id], user="lease")
    bench.over(lrm_id)
    assert not bench.pilots("unheard", 0, "end")


@pytest.mark.full
def test_the_time_limit_gives_every_pilot_its_grace(bench: LrmBench) -> None:
    """Late, as Slurm looks at limits only now and then, and never early."""
    lrm_id = bench.submit(bench.request("limit", (2, 400, 1), seconds=60, stay=200, grace=1))
    started = bench.pilots("limit", 2)[0]["at"]
    heard = bench.pilots("limit", 2, "signal", 150)
    assert min(note["at"] for note in heard) - started >= 59
    bench.pilots("limit", 2, "end")
    bench.over(lrm_id)
    assert bench.view(lrm_id).native == "TIMEOUT"


def test_a_crashed_node_ends_the_job_and_can_come_back(bench: LrmBench, world: SlurmWorld) -> None:
    """When the operator sets it down; never to be started again by Slurm itself."""
    lrm_id = bench.submit(bench.request("crash", (2, 400, 1)))
    node = bench.pilots("crash", 2)[0]["node"]
    world.crash(node)
    world.run_in_head(["scontrol", "update", f"nodename={node}", "state=down", "reason=gone"])
    bench.over(lrm_id)
    assert bench.view(lrm_id).native == "NODE_FAIL"
    world.boot(node)
    world.wait_idle()


def test_jobs_survive_the_controller(bench: LrmBench, world: SlurmWorld) -> None:
    """While it is away nothing is known; afterwards the job is what it was."""
    lrm_id = bench.submit(bench.request("survive", (1, 400, 1)))
    bench.pilots("survive", 1)
    world.stop_controller()
    impatient = CommandLrm(Slurm(terms(world)), reactor, timeout=1)
    for verb in (impatient.list, lambda: impatient.cancel(lrm_id), impatient.survey):
        with pytest.raises(TransientError):
            bench.run(verb)
    world.start_controller()
    eventually(lambda: "idle" in world.node_states().values())
    assert bench.says(lrm_id) is LrmSays.RUNNING


def test_a_stopped_slurmd_leaves_the_pilot_alone(bench: LrmBench, world: SlurmWorld) -> None:
    """And a cancel reaches it after the start."""
    lrm_id = bench.submit(bench.request("daemon", (1, 400, 1)))
    node = bench.pilots("daemon", 1)[0]["node"]
    world.stop_slurmd(node)
    world.start_slurmd(node)
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    bench.pilots("daemon", 1, "signal")


def test_a_partition_of_the_sites_choice(bench: LrmBench, world: SlurmWorld) -> None:
    """Its limits are in the survey."""
    short = made(world, "short")
    survey = short.run(short.lrm.survey)
    assert {queue.name: queue.max_seconds for queue in survey.queues}["short"] == 600
    assert survey.notice == KILL_WAIT
    lrm_id = short.submit(short.request("shortone", (2, 400, 1), seconds=60))
    assert {pilot["node"] for pilot in short.pilots("shortone", 2)} == {"node1", "node2"}
    told = world.run_in_head(["scontrol", "show", "job", lrm_id]).stdout
    assert "Partition=short" in told
    assert "Requeue=0" in told
    assert "Comment=fl-shortone" in told


def test_signals_under_control_groups(reactor_thread: ReactorThread) -> None:
    """Only the pilot itself hears there, so it must be the task, not a child of a shell."""
    with slurm(reactor_thread.run, proctrack="cgroup") as grouped:
        lrm_id = grouped.submit(grouped.request("cgroup", (4, 400, 1)))
        assert len(grouped.pilots("cgroup", 4)) == 4
        grouped.run(lambda: grouped.lrm.cancel(lrm_id))
        grouped.pilots("cgroup", 4, "signal")
        grouped.pilots("cgroup", 4, "end")
        grouped.over(lrm_id)


@pytest.mark.full  # the whole service has a lease on as many by default
def test_sixteen_nodes(reactor_thread: ReactorThread) -> None:
    """One job, sixteen pilots."""
    with slurm_world(nodes=16, kill_wait=5) as large:
        sixteen = made(large)
        sixteen.submit(sixteen.request("sixteen", (16, 400, 1)))
        assert {pilot["node"] for pilot in sixteen.pilots("sixteen", 16)} == set(large.names)


def test_a_user_with_operator_rights_extends(reactor_thread: ReactorThread) -> None:
    """Where the site gave them; the limit counts from the job's start."""
    with slurm(reactor_thread.run, slurm_user="lease") as trusted:
        lrm_id = trusted.submit(trusted.request("trusted", (1, 400, 1), (1, 600, 1), seconds=60))
        trusted.pilots("trusted", 2)
        trusted.run(lambda: trusted.lrm.extend(lrm_id, 7200))
        assert 6000 < trusted.view(lrm_id).left <= 7200

"""One order to all nodes and all answers back: over the pilots' channel, over ssh for each call, over ssh kept open."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from cluster import Cluster
from leases import lease
from rows import Row, at_most, number, percentile

from bench import Bench

TESTS = Path(__file__).resolve().parents[1] / "tests"
BOUND_MS = 50
WARM = 5
_ORDER = json.dumps({"v": 1, "id": 1, "order": "list", "tag": None, "body": {}}) + "\n"


def over_pilots(bench: Bench, found: Cluster, size: int) -> list[float]:
    """Lease so many nodes and return the seconds of each round over the pilots' channel, as the service sees them."""
    times = 20 if bench.quick else 100
    seconds: list[float] = []

    def round_trips() -> None:
        seconds.extend(found.ask("bench.round", places=found.records.places(), times=times + WARM)[WARM:])

    lease(found, size, while_running=round_trips)
    bench.say(f"orders over the pilots' channel: {percentile(seconds, 0.5) * 1e3:.1f} ms")
    return seconds


def rows(bench: Bench, channel: Sequence[float], size: int) -> list[Row]:
    """Return the channel's figure with the two ways of ssh beside it."""
    sys.path.append(str(TESTS))  # the rig of a real OpenSSH server is the tests'
    from rigs import sshd  # noqa: PLC0415

    folder = bench.directory / "sshd"
    folder.mkdir()
    times = 3 if bench.quick else 10
    with sshd.node(folder) as node:
        argv = [str(node.ssh), *_ssh(node)]
        each = [_calls(argv, size) for _ in range(times)]
        with kept(argv, size) as agents:
            standing = [_round(agents) for _ in range(5 * times + WARM)][WARM:]
    part = f"One order to {size} nodes and all answers back"
    return [
        _row(part, "over the pilots' channel", channel, "Slurm jobs, sudo, real agents", BOUND_MS),
        _row(part, "a new ssh for each node", each, "all at once; the node's program answers and ends"),
        _row(part, "ssh kept open to each node", standing, "all to one sshd in another network namespace"),
    ]


def _row(part: str, name: str, seconds: Sequence[float], beside: str, bound: float | None = None) -> Row:
    middle, worst = (percentile(seconds, share) * 1e3 for share in (0.5, 0.99))
    words = f"median of {len(seconds)}; worst {number(max(seconds) * 1e3)} ms; {beside}"
    target = None if bound is None else at_most(bound)
    return Row(part=part, name=name, value=middle, unit="ms", p50=middle, p99=worst, target=target, beside=words)


def _ssh(node: object) -> list[str]:
    reach = node.reach("agent")  # type: ignore[attr-defined]
    known, identity = reach["known_hosts"], reach["identity"]
    options = ["BatchMode=yes", f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "LogLevel=ERROR"]
    words = [word for option in options for word in ("-o", option)]
    return ["-F", "none", "-T", *words, "-i", identity, f"{reach['user']}@{reach['address']}"]


def _calls(argv: Sequence[str], size: int) -> float:
    """Ask every node by an ssh of its own."""
    program = [sys.executable, "-m", "flyinglow.nodectl", "--version"]
    began = time.perf_counter()
    children = [subprocess.Popen([*argv, shlex.join(program)], stdout=subprocess.DEVNULL) for _ in range(size)]
    codes = [child.wait(60) for child in children]
    if any(codes):
        raise RuntimeError("a call by ssh failed")
    return time.perf_counter() - began


@contextmanager
def kept(argv: Sequence[str], size: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Give that many agents, each at the end of an ssh that stays open."""
    with ExitStack() as stack:
        yield [stack.enter_context(_agent(argv)) for _ in range(size)]


@contextmanager
def _agent(argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    directory = "$(mktemp -d /tmp/fl-bench-agent-XXXXXX)"
    config = '{"driver": "simulated", "state": "\'$d\'/state", "run": "\'$d\'/run", "memory_mb": 1000, "cpus": 1}'
    agent = shlex.join([sys.executable, "-m", "flyinglow.nodectl"])
    script = f"d={directory}; echo '{config}' > $d/c.json; {agent} --config $d/c.json agent --stdio; rm -r $d"
    child = subprocess.Popen([*argv, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _pipe(child.stdout).readline()  # its hello
        yield child
    finally:
        child.communicate(timeout=60)


def _round(agents: Sequence[subprocess.Popen[str]]) -> float:
    began = time.perf_counter()
    for agent in agents:
        _pipe(agent.stdin).write(_ORDER)
        _pipe(agent.stdin).flush()
    for agent in agents:
        if not json.loads(_pipe(agent.stdout).readline())["ok"]:
            raise RuntimeError("an agent refused the order")
    return time.perf_counter() - began


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the agent has no pipes")
    return stream

"""What one VM costs a node once its image is there: disks and context, wiring, QEMU's start, and all of it undone.

Run as root: the node is a network namespace with a bridge, its own dnsmasq and nft rules, and QEMU emulates. Targets:
60 ms for overlay and context, 60 ms for wiring, 250 ms from the order to a running QEMU, 200 ms for teardown; with 16
VMs on four nodes 20 ms for the round trip to an agent.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from node_networks import network_space, processor
from node_slots import Node, order
from rows import Row, Target, at_most

from bench import Bench

PART = "vms"
ROUNDS = 30
NODES, EACH = 4, 4
PORT = 8081
SOURCE = f"http://127.0.0.1:{PORT}/"
CONTEXT = "name wn\nhostname wn\n" + "".join(f"member m{n} worker-node 10.78.0.{n}\n" for n in range(64))
LIMITS = {"image": 60.0, "network": 60.0, "running": 250.0, "teardown": 200.0}
NAMES = {
    "image": "overlay and context, image cached",
    "network": "wiring",
    "running": "order to start until QEMU runs",
    "teardown": "order to destroy until all is gone",
}


def measure(bench: Bench) -> list[Row]:
    """Measure single VMs one after the other, then orders to four nodes with four VMs each."""
    rounds = 3 if bench.quick else ROUNDS
    folder = bench.directory / "vms"
    disk = _image(folder / "images")
    found: dict[str, list[float]] = {name: [] for name in LIMITS}
    with network_space() as space, _server(space, folder / "images"), ExitStack() as stack:
        agents = [stack.enter_context(_agent(folder / f"node{number}", space)) for number in range(NODES)]
        order(agents[0], "create", "stays", **_spec("stays", disk, 250))  # fetches, and keeps the bridge's dnsmasq
        before = processor(agents[0])
        for number in range(rounds):
            bench.say(f"VM {number + 1} of {rounds}")
            _one(agents[0], f"v{number}", _spec(f"v{number}", disk, 20), found)
        work = (processor(agents[0]) - before) / rounds
        for place, agent in enumerate(agents):
            for tag in (f"m{place}{number}" for number in range(EACH)):
                order(agent, "create", tag, **{**_spec(tag, disk, 0), "nics": []})
                order(agent, "start", tag, paused=True)
        trips = [_trip(agents, name) for name in ("info", "list") for _ in range(rounds * 10)]
        for place, agent in enumerate(agents):
            for tag in (f"m{place}{number}" for number in range(EACH)):
                order(agent, "destroy", tag)
        order(agents[0], "destroy", "stays")
    half = rounds * 10
    return [
        *[_row(NAMES[name], found[name], at_most(bound)) for name, bound in LIMITS.items()],
        Row(part=PART, name="all of it for one VM, processor time without QEMU's own", value=work * 1000, unit="ms"),
        _row(f"{NODES * EACH} VMs on {NODES} nodes: info from an agent", trips[:half], at_most(20)),
        _row(f"{NODES * EACH} VMs on {NODES} nodes: list of an agent", trips[half:], at_most(20)),
    ]


def _one(agent: subprocess.Popen[str], tag: str, spec: dict[str, Any], found: dict[str, list[float]]) -> None:
    seconds = order(agent, "create", tag, **spec)["seconds"]
    begin = time.perf_counter()
    started = order(agent, "start", tag)
    running = time.perf_counter()
    if started["status"] != "running":
        raise RuntimeError(f"{tag} is {started['status']}")
    order(agent, "destroy", tag)
    for name, value in (
        ("image", seconds["image"]),
        ("network", seconds["network"]),
        ("running", running - begin),
        ("teardown", time.perf_counter() - running),
    ):
        found[name].append(value)


def _trip(agents: Sequence[subprocess.Popen[str]], name: str) -> float:
    """Return how long one order to each agent took, per agent."""
    begin = time.perf_counter()
    for place, agent in enumerate(agents):
        order(agent, name, f"m{place}0" if name == "info" else None)
    return (time.perf_counter() - begin) / len(agents)


def _spec(tag: str, disk: dict[str, Any], last: int) -> dict[str, Any]:
    nic = {"network": "private", "mac": f"02:00:0a:4f:00:{last:02x}", "ip": f"10.78.0.{last}", "prefix": 24}
    nic |= {"bridge": "priv", "hostname": tag}
    plain = {"tag": tag, "name": tag, "memory_mb": 96, "cpus": 1, "context": CONTEXT, "user_data": "#cloud-config\n"}
    return {**plain, "disks": [disk], "nics": [nic]}


def _image(folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    data = os.urandom(16 << 20)
    (folder / "base.raw").write_bytes(data)
    return {"name": "root", "source": f"{SOURCE}base.raw", "sha256": hashlib.sha256(data).hexdigest()}


@contextmanager
def _server(space: str, folder: Path) -> Iterator[None]:
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), str(PORT)]
    inside = ["ip", "netns", "exec", space]
    child = subprocess.Popen([*inside, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        probe = f"until ss -Hltn | grep -q :{PORT}; do sleep 0.05; done"
        subprocess.run([*inside, "sh", "-c", probe], check=True, timeout=30)
        yield
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def _agent(folder: Path, space: str) -> Iterator[subprocess.Popen[str]]:
    node = Node(folder, image_sources=[SOURCE], bridges=["priv"])
    words = ["ip", "netns", "exec", space, *node.argv("agent", "--stdio")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.communicate(timeout=60)


def _row(name: str, seconds: Sequence[float], target: Target) -> Row:
    spread = f"SD {statistics.stdev(seconds) * 1000:.0f}, longest {max(seconds) * 1000:.0f}, {len(seconds)} times"
    return Row(part=PART, name=name, value=statistics.median(seconds) * 1000, unit="ms", target=target, beside=spread)

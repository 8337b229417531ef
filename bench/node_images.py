"""How long an image takes to one node and to eight, from a server whose link is as thin as theirs.

Run as root: each node and the server is a network namespace of its own, behind one switch, and every link carries
100 Mbit/s each way (``tc tbf``). Agents are processes there; what they are told is planned as the service plans it.
Target: to eight at most twice the time to one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from node_slots import Node
from rows import Row, at_most

from bench import Bench
from flyinglow.nodectl.messages import Offered
from flyinglow.workspace.spreading import chains

PART = "images"
NODES = 8
RATE = "100mbit"
SHAPE = ("root", "tbf", "rate", RATE, "burst", "64kb", "latency", "50ms")
NETWORK = "10.79.0"
PORT = 8080
SOURCE = f"http://{NETWORK}.10:{PORT}/"
KEY = secrets.token_hex(32)


class Space:
    """One namespace behind the switch."""

    def __init__(self, label: str, switch: str, last: int) -> None:
        self.name = f"fl-bench-{label}-{secrets.token_hex(3)}"
        self.address = f"{NETWORK}.{last}"
        self._port = f"p{secrets.token_hex(5)}"
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        _ip("-n", self.name, "link", "add", "eth0", "type", "veth", "peer", "name", self._port, "netns", switch)
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", switch, "link", "set", self._port, "master", "br0", "up")
        for space, link in ((self.name, "eth0"), (switch, self._port)):
            subprocess.run(["tc", "-n", space, "qdisc", "add", "dev", link, *SHAPE], check=True)

    def argv(self, *words: str) -> list[str]:
        """Return the words that run a program inside."""
        return ["ip", "netns", "exec", self.name, *words]

    @property
    def sent(self) -> int:
        """How many bytes have left it."""
        words = ["ip", "-n", self.name, "-j", "-s", "link", "show", "eth0"]
        found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        return int(found[0]["stats64"]["tx"]["bytes"])


@contextmanager
def spaces() -> Iterator[tuple[Space, list[Space]]]:
    """Give a server and the nodes, and take all away."""
    switch = f"fl-bench-switch-{secrets.token_hex(3)}"
    made = [switch]
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "name", "br0", "type", "bridge", "forward_delay", "0")
        _ip("-n", switch, "link", "set", "br0", "up")
        found = []
        for number in range(NODES + 1):
            found.append(Space(f"n{number}", switch, number + 10))
            made.append(found[-1].name)
        yield found[0], found[1:]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def web_server(space: Space, folder: Path) -> Iterator[str]:
    """Serve a folder from a space."""
    words = [sys.executable, "-m", "http.server", "--bind", space.address, "--directory", str(folder), str(PORT)]
    child = subprocess.Popen(space.argv(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        probe = space.argv("sh", "-c", f"until ss -Hltn | grep -q :{PORT}; do sleep 0.05; done")
        subprocess.run(probe, check=True, timeout=30)
        yield f"http://{space.address}:{PORT}"
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def agents(folder: Path, nodes: Sequence[Space], **settings: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """Run an agent in each of these nodes, with an empty cache."""
    with ExitStack() as stack:
        found = []
        for number, space in enumerate(nodes):
            node = Node(folder / f"n{number}", image_sources=[SOURCE], **settings)
            words = space.argv(*node.argv("agent", "--stdio"))
            child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(child.communicate, timeout=60)
            found.append(child)
            _message(child)  # its hello
        yield found


def spread(agents: Sequence[subprocess.Popen[str]], url: str, digest: str) -> list[float]:
    """Have the agents create a VM each from one image; return the seconds after which each of them had."""
    begin = time.perf_counter()
    for agent in agents:
        _send(agent, "offer", None, {"key": KEY, "digests": [digest], "seconds": 600})
    offered = {f"n{number:02d}": Offered(**_body(agent)) for number, agent in enumerate(agents)}
    planned = chains({digest: sorted(offered)}, offered)
    for name, agent in zip(offered, agents, strict=True):
        urls = {one: list(found) for one, found in planned.get(name, {}).items()}
        ahead = {"upstream": {"key": KEY, "urls": urls}} if urls else {}
        disk = {"name": "root", "source": url, "sha256": digest}
        _send(agent, "create", "v1", {"tag": "v1", "name": "v1", "memory_mb": 64, "cpus": 1, "disks": [disk], **ahead})
    seconds = []
    for agent in agents:
        _body(agent)
        seconds.append(time.perf_counter() - begin)
    for agent in agents:
        _send(agent, "destroy", "v1", {})
        _body(agent)
    return seconds


def measure(bench: Bench) -> list[Row]:
    """Measure one node, eight in a chain, and eight that each ask the server."""
    size, rounds = (16, 1) if bench.quick else (64, bench.rounds)
    one, many, alone, sent = [], [], [], []
    with spaces() as (server, nodes), web_server(server, bench.directory) as url:
        for number in range(rounds):
            chained = {"peer_address": f"{NETWORK}.0/24"}
            for label, count, settings, found in (
                ("one", 1, chained, one),
                ("chain", NODES, chained, many),
                ("alone", NODES, {}, alone),
            ):
                bench.say(f"{size} MiB to {count}, {label}")
                name, digest = _image(bench.directory, size)
                before = server.sent
                with agents(bench.directory / f"{label}{number}", nodes[:count], **settings) as running:
                    found.append(max(spread(running, f"{url}/{name}", digest)))
                if label == "chain":
                    sent.append((server.sent - before) / (size << 20))
    return _rows(size, one, many, alone, sent)


def _rows(size: int, one: list[float], many: list[float], alone: list[float], sent: list[float]) -> list[Row]:
    ratio = statistics.median(many) / statistics.median(one)
    times = f"of {len(one)} rounds; {size} MiB, links of 100 Mbit/s"
    return [
        _row("to one node", one, times),
        _row(f"to {NODES} nodes, in a chain", many, f"in the same rounds; the server sent {max(sent):.2f} × the image"),
        Row(part=PART, name=f"to {NODES} over to one", value=ratio, unit="×", target=at_most(2)),
        _row(f"to {NODES} nodes, each from the server", alone, "without peer_address"),
    ]


def _row(name: str, seconds: list[float], beside: str) -> Row:
    spread = f"from {min(seconds):.2f} to {max(seconds):.2f} s, {beside}"
    return Row(part=PART, name=name, value=statistics.median(seconds), unit="s", beside=spread)


def _image(folder: Path, size_mb: int) -> tuple[str, str]:
    data = os.urandom(size_mb << 20)
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest[:16]).write_bytes(data)
    return digest[:16], digest


def _send(agent: subprocess.Popen[str], name: str, tag: str | None, body: dict[str, Any]) -> None:
    if agent.stdin is None:
        raise ValueError("the agent has no input")
    agent.stdin.write(json.dumps({"v": 1, "id": 1, "order": name, "tag": tag, "body": body}) + "\n")
    agent.stdin.flush()


def _body(agent: subprocess.Popen[str]) -> dict[str, Any]:
    while (message := _message(agent)).get("id") != 1:
        continue
    if not message["ok"]:
        raise RuntimeError(message["error"]["message"])
    body: dict[str, Any] = message["body"]
    return body


def _message(agent: subprocess.Popen[str]) -> dict[str, Any]:
    line = agent.stdout.readline() if agent.stdout else ""
    if not line:
        raise RuntimeError("the agent ended")
    found: dict[str, Any] = json.loads(line)
    return found


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)

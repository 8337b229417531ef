"""What it takes to connect a VM: tap, rules and DHCP, one VM after another and sixteen at once, and to undo it.

Run as root: it works in a network namespace of its own. Targets: 60 ms to connect a VM, 200 ms to remove it.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_slots import Node, order
from rows import Row, Target, at_most

from bench import Bench

PART = "networks"
ROUNDS = 30
AT_ONCE = 16
MAC, NETWORK = "02:00:0a:4e:00:{:02x}", "10.78.0.{}"
NETWORK6 = "fd00:78::{:x}"


def measure(bench: Bench) -> list[Row]:
    """Connect and remove VMs under each kind of rules."""
    rows: list[Row] = []
    for name, rules, dual in (
        ("nft", "nft", False),
        ("nft and IPv6", "nft", True),
        ("ebtables", "ebtables", False),
        ("off", "off", False),
    ):
        with network_space() as space:
            node = Node(bench.directory / f"networks-{len(rows)}", bridges=["priv"], spoofing_rules=rules)
            rows += _measure(node, space, name, dual=dual)
    return rows


def _measure(node: Node, space: str, rules: str, *, dual: bool) -> list[Row]:
    words = ["ip", "netns", "exec", space, *node.argv("agent", "--stdio")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        order(child, "create", "stays", **_spec("stays", 200, dual=dual))  # a bridge that is in use has its dnsmasq
        before = processor(child)
        rounds = [_round(child, _spec(f"v{number}", number + 10, dual=dual)) for number in range(ROUNDS)]
        wired, gone = zip(*rounds, strict=True)
        work = (processor(child) - before) / ROUNDS
        together = _together(child, dual=dual)
        order(child, "destroy", "stays")
    finally:
        child.communicate(timeout=60)
    bounds = (at_most(60), at_most(200)) if rules.startswith("nft") else (None, None)
    return [
        _row(f"connect one VM, {rules}", wired, bounds[0]),
        _row(f"destroy one VM, {rules}", gone, bounds[1]),
        Row(part=PART, name=f"the two together, {rules}, processor time", value=work * 1000, unit="ms"),
        Row(
            part=PART, name=f"create {AT_ONCE} VMs at once, {rules}, per VM", value=together / AT_ONCE * 1000, unit="ms"
        ),
    ]


def _round(child: subprocess.Popen[str], spec: dict[str, Any]) -> tuple[float, float]:
    """Return how long the node says that connecting took, and how long a VM's whole removal took here."""
    found = order(child, "create", spec["tag"], **spec)
    begin = time.perf_counter()
    order(child, "destroy", spec["tag"])
    return found["seconds"]["network"], time.perf_counter() - begin


def processor(child: subprocess.Popen[str]) -> float:
    """Return the seconds of processor time that an agent and the programs it has waited for have used."""
    fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(word) for word in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _together(child: subprocess.Popen[str], *, dual: bool) -> float:
    begin = time.perf_counter()
    for number in range(AT_ONCE):
        _send(child, number, "create", f"m{number}", _spec(f"m{number}", number + 100, dual=dual))
    _collect(child)
    seconds = time.perf_counter() - begin
    for number in range(AT_ONCE):
        _send(child, number, "destroy", f"m{number}", {})
    _collect(child)
    return seconds


def _send(child: subprocess.Popen[str], number: int, name: str, tag: str, body: dict[str, Any]) -> None:
    if child.stdin is None:
        raise ValueError("the agent has no input")
    child.stdin.write(json.dumps({"v": 1, "id": 1000 + number, "order": name, "tag": tag, "body": body}) + "\n")
    child.stdin.flush()


def _collect(child: subprocess.Popen[str]) -> None:
    left = AT_ONCE
    while left and child.stdout is not None:
        message = json.loads(child.stdout.readline())
        if message.get("id", 0) >= 1000:
            if not message["ok"]:
                raise RuntimeError(message["error"]["message"])
            left -= 1


def _spec(tag: str, last: int, *, dual: bool = False) -> dict[str, Any]:
    nic = {"network": "private", "mac": MAC.format(last), "ip": NETWORK.format(last), "prefix": 24}
    nic |= {"bridge": "priv", "hostname": tag}
    nic |= {"ip6": NETWORK6.format(last)} if dual else {}
    disk = {"name": "root", "blank_mb": 1}
    return {"tag": tag, "name": tag, "memory_mb": 64, "cpus": 1, "disks": [disk], "nics": [nic]}


@contextmanager
def network_space() -> Iterator[str]:
    """Give a network namespace with a bridge, and take it away."""
    name = f"fl-bench-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            "link set lo up",
            "link add priv type bridge forward_delay 0",
            "address add 10.78.0.1/24 dev priv",
            "address add fd00:78::1/64 dev priv nodad",
            "link set priv up",
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _row(name: str, seconds: tuple[float, ...], target: Target | None) -> Row:
    spread = f"SD {statistics.stdev(seconds) * 1000:.0f}, longest {max(seconds) * 1000:.0f}, {len(seconds)} times"
    middle = statistics.median(seconds) * 1000
    return Row(part=PART, name=name, value=middle, unit="ms", target=target, beside=spread)

"""How long a node takes to give a slot, to take it back, and to be cleaned up at once with four real guests.

The paper (section 4): 744 ms to shrink domain 0 (SD 101), 1317 ms to restore it (SD 97), 2336 ms for kill-all (SD 237),
over 100 trials of 1 GB each.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_order import order
from rows import Row, at_most

from bench import Bench
from flyinglow.nodectl import guest
from flyinglow.nodectl.deploy import bundle

PART = "node"
SIZES = (256, 1024, 4096)  # MiB
GUESTS = 4
PAPER = {"reserve": "paper: 744 ms, SD 101", "release": "paper: 1317 ms, SD 97", "kill-all": "paper: 2336 ms, SD 237"}


class Node:
    """The node's program as it is installed, with a configuration of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._program = folder / "flyinglow-nodectl"
        self._config = folder / "nodectl.json"
        bundle.build(self._program)
        plain = {"state": str(folder / "state"), "run": str(folder / "run"), "images": [str(folder.parent)]}
        self._config.write_text(json.dumps({**plain, "memory_mb": 8192, "cpus": 64, **settings}))

    def argv(self, *words: str) -> list[str]:
        """Return the words that run a command."""
        return [str(self._program), "--config", str(self._config), *words]

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[str]]:
        """Run an agent."""
        child = subprocess.Popen(
            self.argv("agent", "--stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield child
        finally:
            child.communicate(timeout=60)


def slot_times(folder: Path, trials: int, size_mb: int) -> tuple[list[float], list[float]]:
    """Return the seconds that each of ``trials`` slots took to be taken and to be given back."""
    taken, given = [], []
    with Node(folder, driver="simulated").agent() as agent:
        for number in range(trials):
            begin = time.perf_counter()
            order(agent, "reserve", slot=f"b.{number}", memory_mb=size_mb, cpus=1)
            middle = time.perf_counter()
            order(agent, "release", slot=f"b.{number}")
            taken.append(middle - begin)
            given.append(time.perf_counter() - middle)
    return taken, given


def kill_all_times(folder: Path, trials: int) -> list[float]:
    """Return the seconds that each of ``trials`` kill-alls took, from its start to its end, with guests running."""
    entry = guest.build(folder / "guest", folder / "cache")
    boot = {name: entry[name] for name in ("kernel", "initrd", "append")}
    node = Node(folder / "node")
    disk = {"name": "root", "source": entry["path"], "format": entry["format"]}
    seconds = []
    for _ in range(trials):
        with node.agent() as agent:
            order(agent, "reserve", slot="b.0", memory_mb=GUESTS * 192, cpus=GUESTS)
            for tag in (f"b{number}" for number in range(GUESTS)):
                plain = {"tag": tag, "name": tag, "memory_mb": 96, "cpus": 1, "disks": [disk], "nics": []}
                order(agent, "create", tag, **plain, **boot)
                order(agent, "start", tag)
            begin = time.perf_counter()
            subprocess.run(node.argv("kill-all"), check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - begin)
    return seconds


def row(name: str, seconds: list[float], beside: str, bound: float | None = None) -> Row:
    """Return the mean of some trials as a row, the deviation in words."""
    mean, deviation = statistics.mean(seconds), statistics.stdev(seconds)
    target = None if bound is None else at_most(bound)
    words = f"SD {deviation * 1000:.1f} ms, n = {len(seconds)}; {beside}"
    return Row(part=PART, name=name, value=mean * 1000, unit="ms", target=target, beside=words)


def rows(trials: int = 100, kills: int = 20) -> list[Row]:
    """Measure all of it."""
    found = []
    with tempfile.TemporaryDirectory(prefix="fl-bench-") as name:
        Path(name).chmod(0o755)
        for size in SIZES:
            taken, given = slot_times(Path(name) / f"slots{size}", trials, size)
            found.append(row(f"slot of {size} MiB taken", taken, PAPER["reserve"]))
            found.append(row(f"slot of {size} MiB given back", given, PAPER["release"]))
        kill = kill_all_times(Path(name), kills)
        found.append(row(f"kill-all, {GUESTS} QEMU guests", kill, PAPER["kill-all"], 2300))
    return found


def measure(bench: Bench) -> list[Row]:
    """Measure all of it as one of the bench."""
    return rows(10, 3) if bench.quick else rows()


if __name__ == "__main__":
    for found in rows(*map(int, sys.argv[1:])):
        print(f"{found.name}: {found.value:.1f} {found.unit}  {found.beside}  {found.verdict}")

"""The trials on an emulated Xen node itself: run there by ``node_xen``, so that no ssh is in any figure.

``xen_trials.py NODECTL slots TRIALS MIB...``: one agent takes and gives back a slot of each size in turn, so often;
``xen_trials.py NODECTL kill TRIALS MIB...``: kill-all as a program of its own, a slot of that size being held and the
PV guest of standard input's JSON running in it. Each trial is one line of JSON with its milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from agent_order import order


def main() -> None:
    """Do the trials that the command line names."""
    nodectl, kind, trials, *sizes = sys.argv[1:]
    if kind == "slots":
        slots(nodectl, int(trials), [int(size) for size in sizes])
    else:
        kills(nodectl, int(trials), [int(size) for size in sizes], json.load(sys.stdin))


def slots(nodectl: str, trials: int, sizes: list[int]) -> None:
    """Take and give back; the very first pair waits for the agent's own start and is not told."""
    agent = start(nodectl)
    for number in range(-1, trials):
        for size in sizes if number >= 0 else sizes[:1]:
            name = f"t.{number + 1}"
            begin = time.perf_counter()
            info = order(agent, "reserve", slot=name, memory_mb=size, cpus=1)
            middle = time.perf_counter()
            back = order(agent, "release", slot=name)
            end = time.perf_counter()
            if not (info["settled"] and back["settled"]):
                raise RuntimeError(f"{size} MiB did not move: {info}, {back}")
            if number >= 0:
                tell(size, reserve=middle - begin, release=end - middle)
    agent.communicate(timeout=120)


def kills(nodectl: str, trials: int, sizes: list[int], spec: dict[str, Any]) -> None:
    """Clean the node up while a guest runs."""
    for _ in range(trials):
        for size in sizes:
            agent = start(nodectl)
            order(agent, "reserve", slot="k.0", memory_mb=size, cpus=1)
            order(agent, "create", spec["tag"], **spec)
            order(agent, "start", spec["tag"])
            begin = time.perf_counter()
            subprocess.run([nodectl, "kill-all"], check=True, stdout=subprocess.DEVNULL)
            end = time.perf_counter()
            agent.communicate(timeout=120)
            tell(size, kill=end - begin)


def start(nodectl: str) -> subprocess.Popen[str]:
    """Start an agent."""
    return subprocess.Popen([nodectl, "agent", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(size: int, **seconds: float) -> None:
    """Write one trial."""
    print(json.dumps({"mib": size, **{name: value * 1000 for name, value in seconds.items()}}), flush=True)


if __name__ == "__main__":
    main()

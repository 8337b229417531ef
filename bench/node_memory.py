"""How long a node's memory takes to move to a slot and back, by what really moves it, and kill-all with a guest of it.

The paper (section 4) measured Xen's domain 0, over 100 trials of 1 GB each; here are the drivers for nodes without Xen,
three sizes each. Beside them stands what the books alone cost. Xen's own figures are those of the Xen rig.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_slots import PAPER, Node, order, row
from rows import Row

from bench import Bench
from flyinglow.nodectl import guest

SIZES = (256, 1024, 2048)  # MiB
GROUPS = Path("/sys/fs/cgroup/memory")
POOL = Path("/proc/sys/vm/nr_hugepages")
TRIALS = 100


def measure(bench: Bench) -> list[Row]:
    """Measure every driver that this machine has."""
    trials = 5 if bench.quick else TRIALS
    found = []
    with tempfile.TemporaryDirectory(prefix="fl-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with jobs_group() as group:
            kinds: dict[str, dict[str, Any]] = {"accounted": {}}
            if group is not None:
                kinds["cgroup"] = {"memory_cgroup": str(group)}
            if os.access(POOL, os.W_OK):
                kinds["hugepages"] = {}
            for kind, settings in kinds.items():
                for size in SIZES:
                    bench.say(f"{kind}, {size} MiB")
                    found += _slot_rows(folder / f"{kind}{size}", kind, settings, size, trials)
            bench.say("kill-all")
            found += _kill_rows(folder, "cgroup" if group is not None else "accounted", kinds, trials)
    return found


@contextmanager
def jobs_group() -> Iterator[Path | None]:
    """Give a control group for a node's jobs; None where there is none to be had."""
    if not os.access(GROUPS, os.W_OK) or not (GROUPS / "memory.limit_in_bytes").exists():
        yield None
        return
    path = GROUPS / f"fl-bench-{secrets.token_hex(4)}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def _slot_rows(folder: Path, kind: str, settings: dict[str, Any], size: int, trials: int) -> list[Row]:
    """Take and give back slots through one agent, as pilots do."""
    taken, given = [], []
    with Node(folder, driver="simulated", memory=kind, **settings).agent() as agent:
        for number in range(-1, trials):
            begin = time.perf_counter()
            info = order(agent, "reserve", slot=f"b.{number}", memory_mb=size, cpus=1)
            middle = time.perf_counter()
            back = order(agent, "release", slot=f"b.{number}")
            if number >= 0:  # the first waits for the agent's own start
                taken.append(middle - begin)
                given.append(time.perf_counter() - middle)
            if not (info["settled"] and back["settled"]):
                raise RuntimeError(f"{kind}: {size} MiB did not move: {info}, {back}")
    return [
        row(f"{kind}: {size} MiB taken", taken, PAPER["reserve"]),
        row(f"{kind}: {size} MiB given back", given, PAPER["release"]),
    ]


def _kill_rows(folder: Path, kind: str, kinds: dict[str, dict[str, Any]], trials: int) -> list[Row]:
    """Clean a node up, from the command's start to its end, while a QEMU guest of each size runs in a slot."""
    entry = guest.build(folder / "guest", folder / "cache")
    boot = {name: entry[name] for name in ("kernel", "initrd", "append")}
    disk = {"name": "root", "source": entry["path"], "format": entry["format"]}
    found = []
    for size in SIZES:
        node = Node(folder / f"kill{size}", memory=kind, images=[str(folder)], **kinds[kind])
        seconds = []
        for _ in range(trials):
            with node.agent() as agent:
                order(agent, "reserve", slot="b.0", memory_mb=size + 96, cpus=1)
                plain = {"tag": "b0", "name": "b0", "memory_mb": size, "cpus": 1, "disks": [disk], "nics": []}
                order(agent, "create", "b0", **plain, **boot)
                order(agent, "start", "b0")
                begin = time.perf_counter()
                subprocess.run(node.argv("kill-all"), check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - begin)
        found.append(row(f"kill-all, a QEMU guest of {size} MiB ({kind})", seconds, PAPER["kill-all"], 2300))
    return found

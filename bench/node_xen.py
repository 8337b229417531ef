"""The paper's own measurement on real Xen: domain 0 gives memory up and has it back, and kill-all with a PV guest.

Section 4 of the paper: 744 ms, 1317 ms and 2336 ms, 100 trials of 1 GB each. Here Xen runs on machines that QEMU
emulates, on one processor each: the figures tell that memory really moves, not how fast a real machine is. The loop
runs on the node. Slots and kill-all are measured at the same time, on a node each. What was measured is kept in
``OUT/xen-slots.jsonl`` and ``OUT/xen-kill.jsonl``, so that a run that is cut short is worth what it got to.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from node_slots import PAPER
from rows import Row, percentile

from bench import Bench
from flyinglow.cli.demo.lrm_site import NODECTL
from flyinglow.nodectl import guest

PART = "real Xen, emulated"
SIZES = (1024, 256, 512)  # MiB; the paper's first
TRIALS = 100
MACHINE_MB, DOMAIN_0_MB = 2048, 1500
GUEST_MB = 96
PROGRAMS = "/srv"
TESTS = Path(__file__).resolve().parents[1] / "tests"


def measure(bench: Bench) -> list[Row]:
    """Measure on two nodes at once. Needs root and what ``make test-xen`` needs."""
    sys.path.insert(0, str(TESTS))
    from rigs.guest import Guest  # noqa: PLC0415 - rigs are the tests'
    from rigs.xen.site import catalogue, site_on  # noqa: PLC0415
    from rigs.xen.world import xen_world  # noqa: PLC0415

    trials = 2 if bench.quick else TRIALS
    bench.out.mkdir(parents=True, exist_ok=True)
    image = Guest(guest.build(bench.directory / "guest", bench.directory / "cache"))
    with xen_world(2, machine_mb=MACHINE_MB, domain_0_mb=DOMAIN_0_MB) as world, site_on(world, image, lrm=True):
        slots, kill = (world.node(name) for name in world.names)
        with ThreadPoolExecutor() as pool:
            taken = pool.submit(_trials, bench, slots, "slots", trials)
            killed = pool.submit(_trials, bench, kill, "kill", trials, _guest(catalogue(image)))
            return rows(taken.result(), killed.result())


def _trials(bench: Bench, node: Any, kind: str, trials: int, given: str = "") -> list[dict[str, float]]:
    """Run the loop on a node and keep each line as it comes."""
    for source in ("agent_order.py", "xen_trials.py"):
        node.put(Path(__file__).with_name(source), f"{PROGRAMS}/{source}")
    # kill-all: all trials of the paper's size first, for they may not all fit
    turns = [SIZES] if kind == "slots" else [(size,) for size in SIZES]
    found = []
    with (bench.out / f"xen-{kind}.jsonl").open("w") as kept:
        for sizes in turns:
            words = ["python3", f"{PROGRAMS}/xen_trials.py", NODECTL, kind, str(trials), *(str(size) for size in sizes)]
            with subprocess.Popen(node.argv(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop:
                if loop.stdin is None or loop.stdout is None:
                    raise ValueError("the loop has no pipes")
                loop.stdin.write(given)
                loop.stdin.close()
                for line in loop.stdout:
                    kept.write(line)
                    kept.flush()
                    found.append(json.loads(line))
            if loop.returncode:
                raise RuntimeError(f"{kind}: the trials ended with {loop.returncode}")
        bench.say(f"{kind}: {len(found)} trials")
    return found


def _guest(image: dict[str, Any]) -> str:
    """Return the VM that kill-all has to end, as JSON."""
    disk = {"name": "root", "source": image["path"], "format": "raw", "sha256": image["sha256"]}
    boot = {name: image[name] for name in ("kernel", "initrd", "append")}
    return json.dumps({"tag": "k1", "name": "k1", "memory_mb": GUEST_MB, "cpus": 1, "disks": [disk], **boot})


def rows(slots: Sequence[dict[str, float]], kills: Sequence[dict[str, float]]) -> list[Row]:
    """Return the means, the deviations and how many trials there were."""
    found = []
    for name, words, trials in (
        ("reserve", "domain 0 gives {} MiB up", slots),
        ("release", "domain 0 has {} MiB again", slots),
        ("kill", "kill-all, a PV guest and a slot of {} MiB", kills),
    ):
        for size in sorted(SIZES):
            times = [trial[name] for trial in trials if trial["mib"] == size]
            if len(times) > 1:
                found.append(_row(words.format(size), times, PAPER["kill-all" if name == "kill" else name]))
    return found


def _row(name: str, times: Sequence[float], paper: str) -> Row:
    beside = f"SD {statistics.stdev(times):,.0f} ms, n = {len(times)}; {paper}"
    middle, last = percentile(times, 0.5), percentile(times, 0.99)
    return Row(part=PART, name=name, value=statistics.mean(times), unit="ms", p50=middle, p99=last, beside=beside)


if __name__ == "__main__":  # what a run that was cut short has left in a folder
    kept = [Path(sys.argv[1]) / f"xen-{kind}.jsonl" for kind in ("slots", "kill")]
    for found in rows(*([json.loads(line) for line in path.read_text().splitlines()] for path in kept)):
        print(
            f"{found.name}: {found.value:,.0f} {found.unit}, p50 {found.p50:,.0f}, p99 {found.p99:,.0f}; {found.beside}"
        )

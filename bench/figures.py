"""The paper's Figures 2 to 5 on a real Slurm with the whole service, and what a bare job of the same path takes.

Each round leases 1, 2, 4, 8 and 16 VMs, one a node, so that what else the machine does falls on all sizes alike. At
1 and 16 a bare job is paired with the lease, in turns before and after it. Slurm starts jobs at its own tick, once a
second; both of a pair begin at the same point of that second, which is drawn anew for every pair.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orders
import splits
from cluster import Cluster, cluster, simulated
from leases import bare, lease
from rows import Row, at_most, number
from splits import Cycle, Split, Stat

from bench import Bench
from flyinglow.nodectl import guest

HYPERVISOR = 3.0  # seconds that a simulated VM takes to start: our choice, after the paper's Xen
SIZES = (1, 2, 4, 8, 16)
REAL_SIZES = (1, 2, 4)
ROUNDS = 20
PAIRED = 1.3
GROWTH = 1.3
FIGURES: Mapping[str, Callable[[Cycle], Split]] = {
    "Figure 2, end to end": splits.end_to_end,
    "Figure 3, slot provisioning": splits.slot,
    "Figure 4, service mechanisms without LRM and pilot": splits.vms,
    "Figure 5, destruction": splits.destruction,
}
PAPER = {1: "paper: 8 s", 16: "paper: 12 s"}

Cycles = dict[int, list[Cycle]]
Pairs = dict[int, list[tuple[float, float]]]


def measure(bench: Bench) -> list[Row]:
    """Measure with simulated VMs of a fixed cost, and the pilot channel on the largest cluster."""
    rounds = 3 if bench.quick else ROUNDS
    with cluster(bench, "figures", nodes=max(SIZES), nodectl=simulated(HYPERVISOR)) as found:
        lease(found, 4)  # code is warm
        cycles, pairs = _rounds(bench, found, SIZES, rounds)
        _keep(bench, "figures.json", cycles, pairs)
        channel = orders.over_pilots(bench, found, max(SIZES))
    what = f"simulated VMs of {HYPERVISOR} s each"
    rows = [*tables(what, cycles), *_ratios(pairs), *_growth(cycles)]
    return [*rows, *orders.rows(bench, channel, max(SIZES))]


def measure_real(bench: Bench) -> list[Row]:
    """Measure with real QEMU guests, as many as the machine's cores allow."""
    entry = guest.build(bench.directory / "guest", bench.directory / "cache")
    rounds = 2 if bench.quick else ROUNDS
    with cluster(bench, "figures-qemu", nodes=max(REAL_SIZES), image={**entry, "name": "guest"}) as found:
        lease(found, 1)
        cycles, _ = _rounds(bench, found, REAL_SIZES, rounds, paired=())
    _keep(bench, "figures-qemu.json", cycles, {})
    return tables("QEMU guests (TCG)", cycles)


def _rounds(
    bench: Bench, found: Cluster, sizes: Sequence[int], rounds: int, paired: Sequence[int] = (1, 16)
) -> tuple[Cycles, Pairs]:
    cycles: Cycles = {size: [] for size in sizes}
    pairs: Pairs = {size: [] for size in paired}
    counter = itertools.count()
    for turn in range(rounds):
        for size in sizes:
            phase = random.random()
            before = size in pairs and turn % 2 == 0
            alone = _bare(found, size, next(counter), phase) if before else 0.0
            _await(phase)
            cycle = lease(found, size)
            cycles[size].append(cycle)
            if size in pairs:
                alone = alone or _bare(found, size, next(counter), phase)
                pairs[size].append((cycle.slots, alone))
        told = [f"{size}: {cycles[size][-1].total:.2f}" for size in sizes]
        told += [f"{size}: {pairs[size][-1][0]:.2f}/{pairs[size][-1][1]:.2f}" for size in pairs]
        bench.say(f"round {turn + 1} of {rounds}: {', '.join(told)} s")
    return cycles, pairs


def _bare(found: Cluster, size: int, count: int, phase: float) -> float:
    _await(phase)
    return bare(found, size, count)


def _await(phase: float) -> None:
    """Wait for a point of the second."""
    time.sleep((phase - time.time()) % 1.0)


# what it comes to


def tables(what: str, cycles: Cycles) -> list[Row]:
    """Return every split of every size as rows: the mean is the figure, its parts stand beside it."""
    return [
        Row(
            part=f"{title} ({what})",
            name=f"N = {size}",
            value=found["sum"].mean,
            unit="s",
            beside=_words(found) + (f"; {PAPER[size]}" if title.startswith("Figure 2") and size in PAPER else ""),
        )
        for title, split in FIGURES.items()
        for size, found in ((size, splits.stats([split(cycle) for cycle in cycles[size]])) for size in cycles)
    ]


def _words(found: Mapping[str, Stat]) -> str:
    parts = [f"{part} {_seconds(each)}" for part, each in found.items() if part != "sum"]
    return f"SD {found['sum'].deviation:.3f}, n = {found['sum'].count}; {'; '.join(parts)}"


def _seconds(each: Stat) -> str:
    return f"{each.mean:.3f} ± {each.deviation:.3f}"


def _ratios(pairs: Pairs) -> list[Row]:
    rows = []
    for size, found in pairs.items():
        lease_seconds, bare_seconds = (sorted(column) for column in zip(*found, strict=True))
        middle = [_middle(column) for column in (lease_seconds, bare_seconds)]
        ratios = sorted(one / other for one, other in found)
        words = f"medians {middle[0]:.3f} s and {middle[1]:.3f} s; middle half of the {len(ratios)} pairs"
        quarter = len(ratios) // 4
        rows.append(
            Row(
                part="Create to the last pilot's being ready, over a bare job",
                name=f"N = {size}",
                value=_middle(ratios),
                unit="",
                target=at_most(PAIRED),
                beside=f"{words} {ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}",
            )
        )
    return rows


def _middle(ranked: Sequence[float]) -> float:
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def _growth(cycles: Cycles) -> list[Row]:
    one, many = (splits.stat([cycle.total for cycle in cycles[size]]).mean for size in (min(SIZES), max(SIZES)))
    part = f"Total({max(SIZES)}) / Total({min(SIZES)})"
    with_it = Row(part=part, name="as it is", value=many / one, unit="", target=at_most(GROWTH), beside="paper: 1.5")
    bare_words = f"{number(many - HYPERVISOR)} s over {number(one - HYPERVISOR)} s"
    without = Row(
        part=part,
        name=f"the hypervisor's {HYPERVISOR} s taken off both",
        value=(many - HYPERVISOR) / (one - HYPERVISOR),
        unit="",
        beside=bare_words,
    )
    return [with_it, without]


def _keep(bench: Bench, name: str, cycles: Cycles, pairs: Pairs) -> None:
    """Keep every run's splits, for the plots and for whoever wants to count anew."""
    plain: dict[str, Any] = {
        "figures": {
            title: {size: [dict(split(cycle)) for cycle in found] for size, found in cycles.items()}
            for title, split in FIGURES.items()
        },
        "totals": {size: [cycle.total for cycle in found] for size, found in cycles.items()},
        "pairs": pairs,
        "statistics": {
            title: {
                size: {part: asdict(each) for part, each in splits.stats([split(c) for c in found]).items()}
                for size, found in cycles.items()
            }
            for title, split in FIGURES.items()
        },
    }
    bench.out.mkdir(parents=True, exist_ok=True)
    Path(bench.out / name).write_text(json.dumps(plain, indent=1) + "\n")

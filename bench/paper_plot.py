"""The measured figures in the paper's own form: stacked bars over the number of nodes, Figures 2 to 5.

    paper_plot.py FIGURES_JSON OUT

draws ``bench/out/figures.json``, as the measurement left it, again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

TITLES = {
    "figures": "A private Slurm, simulated VMs of 3.0 s each",
    "figures-qemu": "A private Slurm, QEMU guests under TCG",
}
COLOURS = ("#33658a", "#e07a3f", "#8fb339")
LEAST_SHOWN = 0.06  # of the highest bar: a number within a lower part would not be read


def draw(source: Path, out: Path, title: str) -> list[Path]:
    """Write the four figures beside each other, as .png and .svg; return their paths."""
    figures = json.loads(source.read_text())["statistics"]
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    canvas, axes = plt.subplots(2, 2, figsize=(12, 9))
    for one, (name, sizes) in zip(axes.flat, figures.items(), strict=True):
        _bars(one, name, sizes)
    canvas.suptitle(title)
    canvas.tight_layout()
    paths = [out / f"{source.stem}.png", out / f"{source.stem}.svg"]
    for path in paths:
        canvas.savefig(path, dpi=100)
    plt.close(canvas)
    return paths


def _bars(axes: Any, name: str, sizes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    parts = [part for part in next(iter(sizes.values())) if part != "sum"]
    places: Sequence[int] = range(len(sizes))
    highest = max(found["sum"]["mean"] for found in sizes.values())
    below = [0.0] * len(sizes)
    for part, colour in zip(parts, COLOURS, strict=True):
        means = [found[part]["mean"] for found in sizes.values()]
        axes.bar(places, means, 0.6, bottom=below, label=part, color=colour)
        for place, low, mean in zip(places, below, means, strict=True):
            if mean > LEAST_SHOWN * highest:
                axes.text(place, low + mean / 2, f"{mean:.2f}", ha="center", va="center", color="white", fontsize=8)
        below = [low + mean for low, mean in zip(below, means, strict=True)]
    deviations = [found["sum"]["deviation"] for found in sizes.values()]
    axes.errorbar(places, below, yerr=deviations, fmt="none", ecolor="black", capsize=3, linewidth=1)
    axes.set_xticks(places, [f"{size}" for size in sizes])
    axes.set_xlabel("nodes")
    axes.set_ylabel("seconds (bars: means; whiskers: SD of the sum)")
    axes.set_title(name, fontsize=10)
    axes.set_ylim(0, 1.25 * max(low + off for low, off in zip(below, deviations, strict=True)))
    axes.legend(ncols=len(parts), fontsize=8, loc="upper left")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    print(*draw(given, Path(sys.argv[2]), TITLES[given.stem]), sep="\n")

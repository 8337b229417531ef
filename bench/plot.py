"""The picture of a run: every figure as a share of its target, and the launch times over the sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rows import Row, number

mpl.use("Agg")
from matplotlib import pyplot as plt

GOOD, BAD, PLAIN = "#2f7d4f", "#b3392f", "#777777"


def draw(rows: Sequence[Row], directory: Path) -> list[Path]:
    """Write bench.png and bench.svg; return their paths."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6), gridspec_kw={"width_ratios": [3, 2]})
    _shares(left, [row for row in rows if row.target is not None and row.target.bound])
    _launches(right, rows)
    figure.tight_layout()
    paths = [directory / "bench.png", directory / "bench.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return paths


def _shares(axes: Any, rows: Sequence[Row]) -> None:
    """Draw how far inside its bound each figure is: to the right of 1 is met."""
    shares = [share(row) for row in rows]
    places = range(len(rows))
    axes.barh(places, shares, color=[GOOD if row.verdict == "met" else BAD for row in rows])
    axes.set_yticks(places, [f"{row.part}: {row.name}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times better than the target")
    for place, row, at in zip(places, rows, shares, strict=True):
        axes.text(at, place, f" {number(row.value)} {row.unit}", va="center", fontsize=8)
    axes.margins(x=0.2)


def share(row: Row) -> float:
    """Return how many times better than its bound a figure is."""
    if row.target is None:
        raise ValueError(f"{row.name} has no target")
    return row.value / row.target.bound if row.target.least else row.target.bound / max(row.value, 1e-9)


def _launches(axes: Any, rows: Sequence[Row]) -> None:
    if not any(row.part.startswith("Launch") for row in rows):  # a run of one measurement has none to draw
        axes.set_axis_off()
        return
    for part in dict.fromkeys(row.part for row in rows if row.part.startswith("Launch")):
        found = [
            (int(match[1]), row) for row in rows if row.part == part and (match := re.match(r"N = (\d+)", row.name))
        ]
        axes.plot([size for size, _ in found], [row.value for _, row in found], marker="o", label=part)
    limits = [(int(row.name[4:]), row.target.bound) for row in rows if row.name.startswith("N = ") and row.target]
    axes.scatter(
        *zip(*sorted(set(limits)), strict=True) if limits else ([], []), marker="v", color=PLAIN, label="at most"
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("workspaces in one request")
    axes.set_ylabel("seconds from Create to the last Running")
    axes.legend()
    axes.grid(visible=True, alpha=0.3)

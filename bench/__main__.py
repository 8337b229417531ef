"""Measures the service against its targets: a table and a picture. Nothing here fails because a figure is low.

python bench [--out FOLDER] [--only NAME]... [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import earlier
import fanout
import figures
import launch
import node_images
import node_memory
import node_networks
import node_slots
import node_vms
import node_xen
import notify
import report
import reports
import standing
import throughput
import tls
from rows import Row

from bench import Bench

HERE = Path(__file__).resolve().parent
MEASURES: Mapping[str, Callable[[Bench], list[Row]]] = {
    "get": throughput.get_property,
    "create": throughput.create,
    "earlier": earlier.measure,
    "notify": notify.measure,
    "fanout": fanout.measure,
    "fanout-tls": fanout.measure_tls,
    "away": fanout.measure_away,
    "launch": lambda bench: launch.measure(bench, "simulated"),
    "launch-default": lambda bench: launch.measure(bench, "default"),
    "standing": standing.measure,
    "figures": figures.measure,
    "figures-qemu": figures.measure_real,
    "reports": reports.measure,
    "node": node_slots.measure,
    "memory": node_memory.measure,
    "images": node_images.measure,
    "networks": node_networks.measure,
    "vms": node_vms.measure,
    "xen": node_xen.measure,
    "tls": tls.measure,
}
ASKED = {"xen"}  # takes an hour or two: only when it is named


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the service; see docs/numbers.md.")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder of the table and the picture")
    parser.add_argument("--only", action="append", choices=sorted(MEASURES), help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="short runs, to see that all works; the figures are rough")
    return parser.parse_args()


def main() -> int:
    """Measure, write, and say what was met."""
    chosen = arguments()
    if shutil.which("wrk") is None:
        print("bench: wrk is not installed; tools/system-packages.sh bench installs it", file=sys.stderr)
        return 69
    before, began = os.getloadavg()[0], time.monotonic()
    rows: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fl-bench-") as directory:
        bench = Bench(
            directory=Path(directory),
            out=chosen.out,
            seconds=2 if chosen.quick else 6,
            rounds=1 if chosen.quick else 3,
            quick=chosen.quick,
        )
        names = chosen.only or [name for name in MEASURES if name not in ASKED]
        for name in names:
            print(f"bench: {name}", file=sys.stderr, flush=True)
            try:
                rows += MEASURES[name](bench)
            except Exception:  # noqa: BLE001 - the others are worth having
                failed.append(name)
                traceback.print_exc()
    facts = circumstances(before, time.monotonic() - began)
    write(rows, facts, chosen.out, {*names} - {*failed})
    if failed:
        print(f"bench: not measured, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def circumstances(load_before: float, seconds: float) -> dict[str, str]:
    """Say where and how the figures came about."""
    return {
        "machine": f"{os.cpu_count()} × {_processor()}, shared by service, load and consumers",
        "software": f"Python {platform.python_version()}, Linux {platform.release()}, revision {_revision()}",
        "other load": f"{load_before:.1f} runnable processes on average in the minute before the run",
        "run": f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {seconds / 60:.0f} minutes",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _revision() -> str:
    done = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def write(rows: list[Row], facts: Mapping[str, str], out: Path, measured: set[str]) -> None:
    """Write the table, the figures and the picture, and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    table = report.markdown(rows, facts)
    (out / "bench.md").write_text(table)
    (out / "bench.json").write_text(report.as_json(rows, facts))
    print(table)
    try:
        import paper_plot  # noqa: PLC0415 - what they need may be missing, and the table is worth having alone
        import plot  # noqa: PLC0415
    except ImportError:
        print("bench: no picture: matplotlib is not installed (tools/venv.sh .venv bench)", file=sys.stderr)
        return
    paths = plot.draw(rows, out)
    for name in sorted(measured & {*paper_plot.TITLES}):
        paths += paper_plot.draw(out / f"{name}.json", out, paper_plot.TITLES[name])
    print("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    sys.exit(main())

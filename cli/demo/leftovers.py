"""Looks for whatever a lease may have left behind: processes, taps, directories, rows that are not ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from flyinglow.cli.admin_socket import ask
from flyinglow.cli.demo.kinds import Form
from flyinglow.cli.demo.site import NODES
from flyinglow.cli.demo.world import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.cli.demo.site import Site

_PROGRAMS = ("qemu-system", "dnsmasq")


def leftovers(site: Site) -> list[str]:
    """Return a sentence for each thing that should be gone and is not."""
    return [*_processes(site), *_taps(site), *_directories(site), *_rows(site)]


def _processes(site: Site) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_ours(entry, str(site.root)):
            yield f"process {entry.name} still runs"


def _is_ours(entry: Path, root: str) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False  # it ended while we looked
    return any(name in Path(words[0]).name for name in _PROGRAMS) and any(root in word for word in words)


def _taps(site: Site) -> Iterator[str]:
    if site.form is Form.NAMESPACES:
        for node in NODES:
            for link in json.loads(run("ip", "-n", node, "-j", "link", "show")):
                if link["ifname"].startswith("fl"):
                    yield f"tap {link['ifname']} is still on {node}"


def _directories(site: Site) -> Iterator[str]:
    for node in NODES:
        for part in ("state/vms", "run"):
            for path in (site.node_dir(node) / part).rglob("*"):
                if not path.is_dir() or part == "state/vms":
                    yield f"{path} is still there"


def _rows(site: Site) -> Iterator[str]:
    for row in ask(site.state, "workspace.list", {}):
        yield f"workspace {row['name']} is {row['state']}, not ended"
    for node in ask(site.state, "node.list", {}):
        for what, free in node["free"].items():
            if free != node[what]:
                yield f"{node[what] - free} {what} of {node['name']} are still held"

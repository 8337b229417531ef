"""A node with VMs on a bridge whose guests are taps in a test's hand, and a machine of the site on the same wire."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.network.ports import tap_name
from rigs.namespaces import Space, link
from rigs.wire import Wire

MAC, IP = "02:00:0a:4e:00:0b", "10.78.0.11"
PEER_MAC, PEER_IP = "02:00:0a:4e:00:0c", "10.78.0.12"
RULES = ["nft", "ebtables"]


class Site:
    """A node with two VMs on its bridge, and a machine of the site at the other end of its wire."""

    def __init__(self, node: Space, outside: Space, folder: Path, run: Path) -> None:
        self.node, self.outside = node, outside
        self.folder, self.run = folder, run
        self.settings: dict[str, Any] = {}
        self.used: set[str] = set()  # rules that a node was told

    def control(self, rules: str, command: str, *words: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run one command of the program, and return its answer."""
        found = self.result(rules, command, *words, given=given)
        assert found.returncode == 0, found.stdout + found.stderr
        answer: dict[str, Any] = json.loads(found.stdout)
        return answer

    def result(
        self, rules: str, command: str, *words: str, given: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv, environment = self.argv(rules, command, *words)
        text = None if given is None else json.dumps(given)
        return subprocess.run(
            argv, input=text, capture_output=True, check=False, text=True, env=environment, timeout=60
        )

    def config(self, rules: str, **settings: Any) -> Path:
        """Write the node's configuration and return its file."""
        self.used.add(rules)
        path = self.folder / f"{rules}.json"
        plain = {"state": str(self.folder / "node"), "run": str(self.run / "node"), "node": "n", "watch_seconds": 0.1}
        given = {**plain, "bridges": ["priv", "other"], "spoofing_rules": rules, **self.settings, **settings}
        path.write_text(json.dumps(given))
        return path

    def argv(self, rules: str, command: str, *words: str) -> tuple[list[str], dict[str, str]]:
        """Return the words that run one command, and its environment."""
        python = shutil.which("python3") or "python3"
        told = ["--config", str(self.config(rules)), "--json", command, *words]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        return self.node.argv(python, "-m", "flyinglow.nodectl", *told), environment

    def create(self, rules: str, tag: str = "a1", mac: str = MAC, ip: str = IP, **changes: Any) -> dict[str, Any]:
        return self.control(rules, "create", given=spec(tag, mac, ip, **changes))

    def dropped(self, rules: str, tag: str = "a1") -> dict[str, int]:
        found: dict[str, int] = self.control(rules, "info", tag)["dropped"]
        return found

    def guest(self, tag: str = "a1") -> Wire:
        return Wire(self.node.argv, tap_name(tag, 0))


def spec(tag: str, mac: str, ip: str, **changes: Any) -> dict[str, Any]:
    nic = {"network": "private", "mac": mac, "ip": ip, "prefix": 26, "bridge": "priv", "hostname": tag, **changes}
    disk = {"name": "root", "blank_mb": 1}
    return {"tag": tag, "name": tag, "memory_mb": 64, "cpus": 1, "disks": [disk], "nics": [nic]}


@pytest.fixture
def guarded(new_space: Callable[[str], Space], tmp_path: Path) -> Iterator[Site]:
    node, outside = new_space("node"), new_space("outside")
    node.bridge("priv", "10.78.0.1/26")
    outside.bridge("priv", "10.78.0.2/26")
    link(node, outside, "priv")
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        Path(run).chmod(0o755)
        made = Site(node, outside, tmp_path, Path(run))
        yield made
        for rules in sorted(made.used):
            made.control(rules, "kill-all")
    assert node.processes() == []
    assert "flyinglow" not in node.run("nft", "list", "ruleset")
    assert "fla1" not in node.run("ebtables", "-t", "nat", "-L") + node.run("ebtables", "-L")

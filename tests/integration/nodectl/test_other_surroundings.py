"""Nodes as they are elsewhere: an ordinary user, an older Python, a full disk."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest
from rigs.node import plain_spec

ROOT = Path(__file__).parents[3]
NOBODY = "65534"
NIC = {"network": "private", "mac": "02:00:00:00:00:09", "ip": "10.9.1.77", "prefix": 24, "hostname": "wn-7"}


@pytest.fixture
def tree() -> Iterator[Path]:
    """A copy of the node's program, with a work folder, that every user can read."""
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        path = Path(folder)
        path.chmod(0o777)
        (path / "flyinglow").mkdir(mode=0o755)
        shutil.copy(ROOT / "src/flyinglow/__init__.py", path / "flyinglow")
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "nodectl", path / "flyinglow/nodectl", ignore=skip)
        yield path


class Program:
    """The node's program, run from ``tree`` by some Python."""

    def __init__(self, tree: Path, *python: str) -> None:
        self._python = python
        self._tree = tree

    def run(self, *words: str, given: str = "") -> tuple[int, dict[str, Any]]:
        argv = [*self._python, "-m", "flyinglow.nodectl", "--state", str(self._tree / "state"), "--json", *words]
        environment = {**os.environ, "PYTHONPATH": str(self._tree), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            argv, input=given, capture_output=True, text=True, env=environment, cwd="/", timeout=180, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def ok(self, *words: str, given: str = "") -> dict[str, Any]:
        code, answer = self.run(*words, given=given)
        assert code == 0, answer
        return answer


@pytest.mark.root
def test_an_ordinary_user_gets_the_leased_address_in_a_user_mode_network(tree: Path, guest_image: Guest) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user needs root and setpriv")
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    program = Program(tree, *drop, "/usr/bin/python3")
    code, answer = program.run("create", given=json.dumps(guest_image.spec("a1", nics=[{**NIC, "bridge": "br0"}])))
    assert (code, answer["error"]["kind"]) == (1, "broken")
    assert "only root" in answer["error"]["message"]

    program.ok("create", given=json.dumps(guest_image.spec("a1", nics=[NIC])))
    try:
        pid = program.ok("start", "a1")["pid"]
        assert Path(f"/proc/{pid}").stat().st_uid == int(NOBODY)
        deadline = time.monotonic() + 180
        while not program.ok("info", "a1")["ready"]:
            assert time.monotonic() < deadline
        text = (tree / "state/vms/a1/console.log").read_text(errors="replace")
        assert "GUEST-IP eth0 10.9.1.77/24 mac=02:00:00:00:00:09" in text
        assert "GUEST-HOSTNAME wn-7" in text
    finally:
        answer = program.ok("kill-all")
        assert (answer["destroyed"], answer["failed"]) == (["a1"], [])
    assert not Path(f"/proc/{pid}/cwd").exists()


def test_the_oldest_python_runs_the_node(tree: Path) -> None:
    versions = map(str, Path.home().glob(".pyenv/versions/3.9*/bin/python3.9"))
    found = next(versions, None) or shutil.which("python3.9")
    if found is None:
        pytest.skip("no Python 3.9")
    modules = [str(path.relative_to(tree))[:-3].replace("/", ".") for path in tree.rglob("*.py")]
    lines = [f"import {name.removesuffix('.__init__')}" for name in modules if not name.endswith("__main__")]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([found, "-c", "\n".join(lines)], check=True, env=environment, cwd="/", timeout=180)

    program = Program(tree, found)
    driver = ("--driver", "simulated")
    assert program.ok(*driver, "create", given=json.dumps(plain_spec("a1")))["status"] == "created"
    assert program.ok(*driver, "start", "a1")["status"] == "running"
    assert [vm["tag"] for vm in program.ok(*driver, "list")["vms"]] == ["a1"]
    assert program.ok(*driver, "destroy", "a1") == {}
    assert program.ok(*driver, "list") == {"vms": [], "strangers": []}


@pytest.mark.root
def test_a_full_disk_is_said_and_leaves_nothing(tree: Path, guest_image: Guest) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    state = tree / "state"
    state.mkdir()
    (tree / "c.json").write_text(json.dumps({"minimum_free_disk_mb": 0, "images": [str(IMAGES)]}))
    spec = tree / "spec.json"
    spec.write_text(json.dumps(guest_image.spec("a1", context="x" * 200_000)))
    python = f"/usr/bin/python3 -m flyinglow.nodectl --config {tree}/c.json --state {state} --json"
    script = f"mount -t tmpfs -o size=128k none {state} && {python} create < {spec}; echo $?; {python} list"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
        check=True,
    )
    assert "no space left" in done.stdout
    assert '"kind": "exhausted"' in done.stdout
    assert "\n6\n" in done.stdout
    assert '"vms": []' in done.stdout

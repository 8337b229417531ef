"""A site's own libvirtd runs our VMs: a real one, on a node with a guarded bridge, and a real guest on it."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs import libvirt
from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("libvirtd")]

SOURCES = Path(__file__).parents[3] / "src"
PYTHON = "/usr/bin/python3"  # which Debian's module of libvirt is for
MAC, IP = "02:00:0a:4e:00:0b", "10.78.0.11"
USER = "libvirt-qemu"  # which Debian's libvirtd runs QEMU as
SECRET = "word-that-nobody-may-see"


class Node:
    """A node whose program is told to use a private libvirtd."""

    def __init__(self, space: Space, daemon: libvirt.Daemon, folder: Path, **settings: Any) -> None:
        self.space, self.daemon, self.folder = space, daemon, folder
        self._file = folder / "nodectl.json"
        plain: dict[str, Any] = {
            "state": str(folder / "node"),
            "run": str(folder / "run/fl"),
            "driver": "libvirt",
            "node": "n",
        }
        plain.update(libvirt=daemon.uri, images=[str(IMAGES)], bridges=["priv"])
        self._file.write_text(json.dumps({**plain, **settings}))

    def control(self, command: str, *words: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        argv = [PYTHON, "-m", "flyinglow.nodectl", "--config", str(self._file), "--json", command, *words]
        text = None if given is None else json.dumps(given)
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        done = subprocess.run(
            self.space.argv(*argv),
            input=text,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def info(self, tag: str = "a1") -> dict[str, Any]:
        return self.control("info", tag)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.info()
            return found if wanted(found) else None

        found: dict[str, Any] = eventually(look)
        return found

    def console(self) -> bytes:
        return (self.folder / "node/vms/a1/console.log").read_bytes()


@pytest.fixture
def node(new_space: Callable[[str], Space]) -> Iterator[Node]:
    libvirt.module()
    space = new_space("node")
    space.bridge("priv", "10.78.0.1/26")
    with tempfile.TemporaryDirectory(prefix="fl") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "run").mkdir()
        with libvirt.daemon(folder / "d", space.argv(), USER, USER) as daemon:
            made = Node(space, daemon, folder, run_as=USER)
            yield made
            with contextlib.suppress(AssertionError):
                made.control("kill-all")
    eventually(lambda: space.processes() == [], 30)


def test_a_guest_lives_on_a_sites_libvirtd(node: Node, guest_image: Guest) -> None:
    nic = {"network": "private", "mac": MAC, "ip": IP, "prefix": 26, "bridge": "priv", "hostname": "ce"}
    spec = guest_image.spec("a1", nics=[nic], context=f"hello {SECRET}\n")
    assert node.control("create", given=spec)["status"] == "created"
    started = node.control("start", "a1")
    assert started["status"] == "running"
    words = Path(f"/proc/{started['pid']}/cmdline").read_bytes().decode().split("\0")
    assert "guest=fl-a1,debug-threads=on" in words
    assert not [word for word in words if SECRET in word]
    assert node.daemon.domains() == ["fl-a1"]

    node.until(lambda vm: vm["ready"])
    said = node.console().decode(errors="replace")
    assert f"GUEST-IP eth0 {IP}/26 mac={MAC}" in said, said
    assert f"GUEST-CTX| hello {SECRET}" in said
    assert "GUEST-HOSTNAME ce" in said
    for order, status in (("pause", "paused"), ("resume", "running")):
        assert node.control(order, "a1")["status"] == status

    kept = node.control("save-state", "a1")
    assert (kept["status"], node.daemon.domains()) == ("stopped", [])
    assert (node.folder / "node/vms/a1/memory.state").stat().st_mode & 0o077 == 0
    before = node.console()
    assert node.control("restore-state", "a1")["status"] == "running"
    assert node.console() == before  # it did not boot
    assert node.control("shutdown", "a1", "--seconds", "60")["status"] == "stopped"
    assert b"GUEST-POWERBUTTON" in node.console()
    assert node.daemon.domains() == []
    node.control("destroy", "a1")
    assert "fla1" not in node.space.run("nft", "list", "ruleset")

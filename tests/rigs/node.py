"""A node under test: with the simulated driver, with a stand-in for Xen, or with QEMU and the packaged guest."""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import compose, config, emergency
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.messages import VmInfo
from flyinglow.nodectl.node import Node
from rigs import libvirt
from rigs.guest import IMAGES

STAND_IN = Path(__file__).parent / "xl_stand_in.py"


class Subject:
    """A node under test; ``again`` is what another program on the same node would see."""

    def __init__(
        self, driver: str, state: Path, run: Path, spec: Callable[..., dict[str, Any]], **settings: Any
    ) -> None:
        self.driver = driver
        self.spec = spec
        plain = {"state": str(state), "run": str(run), "driver": driver, "node": "n1", "images": [str(IMAGES)]}
        self._settings = {**plain, **settings}
        self.node = self.again()

    def again(self, **settings: Any) -> Node:
        return compose.node_of(config.build({**self._settings, **settings}))

    @property
    def config(self) -> Config:
        """The node's configuration."""
        return config.build(self._settings)

    def failing(self, order: str) -> Config:
        """Return the configuration of a node on which this order fails, as far as its driver lets itself be told so."""
        if self.driver == "xen":
            XenHost(self.node.state.path.parent / "xen").refuse("libxl: error: no room\n")
        return config.build({**self._settings, "simulated": {"failures": [{"order": order}]}})

    def kill_all(self) -> dict[str, Any]:
        return emergency.kill_all(self.config)

    def create(self, tag: str, **changes: Any) -> VmInfo:
        return self.node.create(tag, self.spec(tag, **changes))

    def until(self, wanted: Callable[[VmInfo], bool], tag: str, seconds: float = 180) -> VmInfo:
        deadline = time.monotonic() + seconds
        while not wanted(info := self.node.info(tag)):
            assert time.monotonic() < deadline, info
            time.sleep(0.02)
        return info

    def crash(self, tag: str) -> None:
        """Let a running VM die in a bad way."""
        pid = self.node.info(tag).pid
        if self.driver == "xen":
            XenHost(self.node.state.path.parent / "xen").take_away(f"fl-{tag}")
        elif self.driver == "libvirt":
            link = libvirt.module().open(self._settings["libvirt"])
            link.lookupByName(f"fl-{tag}").destroy()
            link.close()
        elif pid is None:
            vm = self.node.state.vm(tag)
            record = vm.record()
            assert record is not None
            vm.update(record, simulated={**record.simulated, "exit_at": 0.0})
        else:
            os.kill(pid, signal.SIGKILL)


def plain_spec(tag: str, **changes: Any) -> dict[str, Any]:
    return {"tag": tag, "name": tag, "memory_mb": 64, "cpus": 1, "ready_mark": "READY", **changes}


class XenHost:
    """A machine with a stand-in for Xen's ``xl``: no guest runs there, but all its answers are as Xen's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.images = folder / "images"
        self.xl = folder / "xl"

    def build(self) -> None:
        """Make its files: a kernel, an initial RAM disk and an image of no use."""
        for path in (self.images, self._folder / "console"):
            path.mkdir(parents=True)
        for name in ("kernel", "initrd", "root.raw"):
            (self.images / name).write_bytes(name.encode() * 1000)
        self.xl.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{STAND_IN}" "{self._folder}" "$@"\n')
        self.xl.chmod(0o755)

    @property
    def settings(self) -> dict[str, Any]:
        """What a node's configuration says of it."""
        return {"xl": str(self.xl), "xen_consoles": str(self._folder / "console"), "images": [str(self.images)]}

    def spec(self, tag: str, **changes: Any) -> dict[str, Any]:
        """Return a VmSpec in its JSON form; ``changes`` win."""
        boot = {name: str(self.images / name) for name in ("kernel", "initrd")}
        disk = {"name": "root", "source": str(self.images / "root.raw"), "format": "raw"}
        read_only = {"name": "data", "source": str(self.images / "root.raw"), "format": "raw", "read_only": True}
        disks = [disk, read_only, {"name": "scratch", "blank_mb": 1}]
        return plain_spec(tag, **{**boot, "append": 'a="b \\ c"', "disks": disks, "context": "hello", **changes})

    def refuse(self, words: str) -> None:
        """Let creations fail half way from now on; empty words: no more."""
        refusal = self._folder / "refuse"
        refusal.write_text(words) if words else refusal.unlink()

    def domains(self) -> list[dict[str, Any]]:
        """Return the domains that there are, without the machine's own."""
        file = self._folder / "domains.json"
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return found

    def put(self, domains: list[dict[str, Any]]) -> None:
        """Let there be these domains."""
        (self._folder / "domains.json").write_text(json.dumps(domains))

    def take_away(self, name: str) -> None:
        """Destroy a domain as somebody else does."""
        self.put([domain for domain in self.domains() if domain["name"] != name])


@pytest.fixture
def xen_host(tmp_path: Path) -> XenHost:
    host = XenHost(tmp_path / "xen")
    host.build()
    return host


@pytest.fixture(params=["simulated", "libvirt", "xen", "qemu"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    settings: dict[str, Any] = {}
    hold = contextlib.ExitStack()
    if request.param == "simulated":
        spec = plain_spec
    elif request.param == "libvirt":
        spec, settings = plain_spec, {"libvirt": hold.enter_context(libvirt.pretended())}
    elif request.param == "xen":
        host: XenHost = request.getfixturevalue("xen_host")
        spec, settings = host.spec, host.settings
    else:
        spec = request.getfixturevalue("guest_image").spec
    with hold, tempfile.TemporaryDirectory(prefix="fl") as run:
        made = Subject(request.param, tmp_path / "state", Path(run) / "run", spec, **settings)
        yield made
        assert made.kill_all()["failed"] == []

"""A node under test, with the simulated driver or with QEMU and the packaged guest."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import compose, config, emergency
from flyinglow.nodectl.messages import VmInfo
from flyinglow.nodectl.node import Node
from rigs.guest import IMAGES


class Subject:
    """A node under test; ``again`` is what another program on the same node would see."""

    def __init__(self, driver: str, state: Path, run: Path, spec: Callable[..., dict[str, Any]]) -> None:
        self.driver = driver
        self.spec = spec
        self._settings = {"state": str(state), "run": str(run), "driver": driver, "node": "n1", "images": [str(IMAGES)]}
        self.node = self.again()

    def again(self, **settings: Any) -> Node:
        return compose.node_of(config.build({**self._settings, **settings}))

    def kill_all(self) -> dict[str, Any]:
        return emergency.kill_all(config.build(self._settings))

    def create(self, tag: str, **changes: Any) -> VmInfo:
        return self.node.create(tag, self.spec(tag, **changes))

    def until(self, wanted: Callable[[VmInfo], bool], tag: str, seconds: float = 60) -> VmInfo:
        deadline = time.monotonic() + seconds
        while not wanted(info := self.node.info(tag)):
            assert time.monotonic() < deadline, info
            time.sleep(0.02)
        return info

    def crash(self, tag: str) -> None:
        """Let a running VM die in a bad way."""
        pid = self.node.info(tag).pid
        if pid is None:
            vm = self.node.state.vm(tag)
            record = vm.record()
            assert record is not None
            vm.update(record, simulated={**record.simulated, "exit_at": 0.0})
        else:
            os.kill(pid, signal.SIGKILL)


def plain_spec(tag: str, **changes: Any) -> dict[str, Any]:
    return {"tag": tag, "name": tag, "memory_mb": 64, "cpus": 1, "ready_mark": "READY", **changes}


@pytest.fixture(params=["simulated", "qemu"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    spec = plain_spec if request.param == "simulated" else request.getfixturevalue("guest_image").spec
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        made = Subject(request.param, tmp_path / "state", Path(run) / "run", spec)
        yield made
        assert made.kill_all()["failed"] == []

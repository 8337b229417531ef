"""A real guest whose QEMU has given up root and most system calls, on a bridge that only root can put it on."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space
from rigs.node_agent import AgentProcess

pytestmark = pytest.mark.root

USER, NUMBER = "nobody", "65534"
NIC = {"network": "n", "mac": "02:00:0a:4d:00:0b", "ip": "10.77.0.11", "prefix": 24, "bridge": "pub", "hostname": "ce"}
SYSTEM_CALL_FILTER = "2"  # the kernel's number for one that is a program


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        Path(folder).chmod(0o755)  # as /run is: QEMU finds its pid file below it when it is no longer root
        yield Path(folder)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def _until(agent: AgentProcess, wanted: Callable[[dict[str, Any]], bool], seconds: float = 180) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not wanted(info := agent.order("info", "a1")):
        assert time.monotonic() < deadline, info
        time.sleep(0.05)
    return info


@pytest.mark.parametrize(
    "settings",
    [
        {"run_as": USER, "sandbox": True},
        pytest.param({"run_as": USER}, marks=pytest.mark.full),
        pytest.param({"sandbox": True}, marks=pytest.mark.full),
    ],
)
def test_a_guest_lives_with_fewer_rights(
    guest_image: Guest,
    new_space: Callable[[str], Space],
    tmp_path: Path,
    run_folder: Path,
    settings: dict[str, Any],
) -> None:
    space = new_space("rights")
    space.bridge("pub", "10.77.0.1/24")
    config = tmp_path / "c.json"
    plain = {"state": str(tmp_path / "state"), "run": str(run_folder / "run"), "watch_seconds": 0.1}
    config.write_text(json.dumps({**plain, "images": [str(IMAGES)], "bridges": ["pub"], **settings}))
    with AgentProcess(config, space.argv()) as agent:
        disks = [*guest_image.spec("a1")["disks"], {"name": "scratch", "blank_mb": 8}]
        agent.order("create", "a1", **guest_image.spec("a1", nics=[NIC], disks=disks, context="name ce\n"))
        pid = agent.order("start", "a1")["pid"]
        status = _status(pid)
        if "run_as" in settings:
            assert {status["Uid"], status["Gid"]} == {"\t".join([NUMBER] * 4)}
            assert "0" not in status["Groups"].split()
        assert (status["Seccomp"] == SYSTEM_CALL_FILTER) is bool(settings.get("sandbox"))
        _until(agent, lambda info: info["ready"])
        space.run("ping", "-c", "1", "-w", "120", "10.77.0.11")
        assert agent.order("pause", "a1")["status"] == "paused"
        assert agent.order("resume", "a1")["status"] == "running"
        agent.order("reboot", "a1")
        _until(agent, lambda info: info["ready"])
        assert agent.order("shutdown", "a1", seconds=120)["status"] == "stopped"  # told from a crash by the pid file
        if "run_as" in settings:
            (run_folder / "run/pids/a1/qemu.pid").symlink_to(tmp_path / "precious")  # what a captured QEMU could do
            (run_folder / "run/pids/a1/x").mkdir()
        pid = agent.order("start", "a1")["pid"]
        os.kill(pid, 9)
        assert "bad way" in agent.news("a1", status="broken")["reason"]
        agent.order("start", "a1", paused=True)
        agent.order("destroy", "a1")
    assert not (tmp_path / "precious").exists()
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []
    assert [path for path in run_folder.rglob("*") if not path.is_dir()] == []


def test_a_process_is_found_whether_the_key_was_set_or_not_when_it_was_started(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = new_space("rights")
    config = tmp_path / "c.json"
    plain = {"state": str(tmp_path / "state"), "run": str(run_folder / "run"), "images": [str(IMAGES)]}
    config.write_text(json.dumps({**plain, "run_as": USER}))
    with AgentProcess(config, space.argv()) as agent:
        agent.order("create", "a1", **guest_image.spec("a1"))
        agent.order("start", "a1", paused=True)
    config.write_text(json.dumps(plain))
    with AgentProcess(config, space.argv()) as agent:
        assert agent.order("info", "a1")["status"] == "paused"
        agent.order("destroy", "a1")
    assert space.processes() == []

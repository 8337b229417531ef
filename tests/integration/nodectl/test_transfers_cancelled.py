"""A transfer that nobody waits for any more ends at once, whatever the server does: through a real agent process."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from flyinglow.backend import default
from flyinglow.backend.api import NodeState, Order, Settings
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.messages import OrderName
from rigs.image_server import ImageServer, image_server
from rigs.node_agent import AgentProcess
from rigs.reactor import reactor_thread
from rigs.waiting import eventually

__all__ = ["reactor_thread"]
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

MIB = 1 << 20
DATA = os.urandom(3 * MIB)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ImageServer]:
    """A web server that stops in the middle of every body."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "base.raw").write_bytes(DATA)
    with image_server(folder) as made:
        made.gate.clear()
        yield made


@pytest.fixture
def config(tmp_path: Path, server: ImageServer) -> Path:
    path = tmp_path / "nodectl.json"
    path.write_text(
        json.dumps(
            {
                "state": str(tmp_path / "state"),
                "run": str(tmp_path / "run"),
                "image_sources": [server.url("")],
                "save_targets": [server.url("")],
                "image_timeout": 600,
                "image_tries": 1,
                "watch_seconds": 0.05,
            }
        )
    )
    return path


def spec(tag: str, server: ImageServer) -> dict[str, Any]:
    disk = {"name": "root", "source": server.url("base.raw"), "sha256": DIGEST}
    return {"tag": tag, "name": tag, "memory_mb": 64, "cpus": 1, "disks": [disk]}


def gone(folder: Path, tag: str) -> bool:
    return not (folder / "state/vms" / tag).exists()


def under_way(folder: Path, server: ImageServer) -> Callable[[], bool]:
    part = folder / f"state/cache/{DIGEST}.part"
    return lambda: server.gets() > 0 and part.exists() and part.stat().st_size > 0


def test_an_order_that_is_taken_back_stops_its_download_and_the_next_goes_on_with_it(
    config: Path, server: ImageServer, tmp_path: Path
) -> None:
    with AgentProcess(config) as agent:
        number = agent.send("create", "a1", **spec("a1", server))
        eventually(under_way(tmp_path, server))
        other = agent.send("create", "a2", **spec("a2", server))  # waits for the same transfer
        assert agent.order("cancel", "a1", order="create") == {}
        refused = agent.answer(number)["error"]
        assert (refused["kind"], "cut short" in refused["message"]) == ("conflict", True)
        assert not server.gate.is_set()  # nobody has sent another byte
        assert gone(tmp_path, "a1")
        again = agent.send("create", "a1", **spec("a1", server))
        server.gate.set()
        assert agent.answer(again)["body"]["status"] == agent.answer(other)["body"]["status"] == "created"
        assert any(asked[2] for asked in server.asked)  # from where it was


def test_an_order_that_is_not_about_the_transfer_takes_nothing_back(
    config: Path, server: ImageServer, tmp_path: Path
) -> None:
    with AgentProcess(config) as agent:
        number = agent.send("create", "a1", **spec("a1", server))
        eventually(under_way(tmp_path, server))
        agent.order("cancel", "a1", order="save")
        agent.order("cancel", "a9", order="create")
        server.gate.set()
        assert agent.answer(number)["body"]["status"] == "created"


@pytest.mark.parametrize("killed", [False, True])
def test_a_channel_that_is_lost_stops_the_download(
    config: Path, server: ImageServer, tmp_path: Path, killed: bool
) -> None:
    agent = AgentProcess(config)
    number = agent.send("create", "a1", **spec("a1", server))
    eventually(under_way(tmp_path, server))
    if killed:
        agent.process.terminate()  # what a dying connection does to it
    assert agent.close() == 0
    assert agent.answer(number)["error"]["kind"] == "conflict"
    assert not server.gate.is_set()
    assert gone(tmp_path, "a1")
    assert (tmp_path / f"state/cache/{DIGEST}.part").exists()


def test_an_upload_is_stopped_and_the_disk_stays(config: Path, server: ImageServer, tmp_path: Path) -> None:
    with AgentProcess(config) as agent:
        disk = {"name": "root", "blank_mb": 64}
        agent.order("create", "a1", tag="a1", name="a1", memory_mb=64, cpus=1, disks=[disk])
        with (tmp_path / "state/vms/a1/disk0.raw").open("r+b") as file:
            file.write(os.urandom(32 * MIB))  # more than any socket holds
        body = {"target": server.url("saved.raw"), "disk": "root", "format": "raw"}
        number = agent.send("save", "a1", **body)
        eventually(lambda: ("PUT", "/saved.raw", None) in server.asked)
        agent.order("cancel", "a1", order="save")
        assert agent.answer(number)["ok"] is False
        assert not server.gate.is_set()
        assert agent.order("info", "a1")["status"] == "created"
        assert not (tmp_path / "site/saved.raw").exists()
        server.gate.set()
        assert agent.order("save", "a1", **body)["saved"]["bytes"] == 64 * MIB


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_the_services_channel_has_a_node_stop_what_nobody_waits_for(
    config: Path, server: ImageServer, tmp_path: Path, reactor_thread: ReactorThread, how: str
) -> None:
    program = tmp_path / "nodectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m flyinglow.nodectl --config {config} "$@"\n')
    program.chmod(0o755)
    reach = {"channel": "local", "agent": str(program)}
    nodes = {"n1": NodeState(name="n1", memory_mb=1, cpus=1, disk_mb=1, reach=reach)}
    told: list[Any] = []
    settings = Settings(reactor=reactor_thread.reactor, nodes=nodes, options={}, news=lambda _, info: told.append(info))
    backend = reactor_thread.call(default.create, settings)
    waiting: list[Deferred[Any]] = []

    async def create() -> None:
        with contextlib.suppress(FlyingLowError, CancelledError):
            await backend.channel("n1").send(Order(OrderName.CREATE, "a1", spec("a1", server)), 600.0)

    reactor_thread.reactor.callFromThread(lambda: waiting.append(Deferred.fromCoroutine(create())))
    eventually(under_way(tmp_path, server))
    if how == "cancel":  # which is what the end of its patience does
        reactor_thread.reactor.callFromThread(waiting[0].cancel)
    else:
        reactor_thread.run(backend.close)
    eventually(lambda: server.gets() > 0 and gone(tmp_path, "a1"))
    assert not server.gate.is_set()
    reactor_thread.run(backend.close)

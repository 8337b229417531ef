"""Nodes of a launch set pass images on: a source sends each once, lessees see how far it is, a destroy ends it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, Part, Resource, Site, connect
from flyinglow.client.watch import Watch
from rigs.daemon import Daemon
from rigs.image_server import ImageServer, image_server

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

MIB = 1 << 20
PROGRESS = re.compile(r": (\d+\.\d) of 32\.0 MiB, (\d+\.\d) MiB/s$")
Eventually = Callable[..., Any]


@pytest.fixture
def daemon_store() -> str:
    """Use SQLite only: nothing here asks the database for more than other tests do."""
    return ""


def _image(server: ImageServer, name: str, size: int) -> str:
    data = os.urandom(size)
    (server.folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return f'[image.{name}]\npath = "{server.url(name)}"\nsha256 = "{digest}"\nsize_mb = {size // MIB}\n'


def _lease(site: Site, image: str) -> list[Resource]:
    """Lease two workspaces that no node has room for at once; no VM is started."""
    parts = [Part(name=name, memory_mb=1500, disks=(Disk(image=image),)) for name in ("ce", "wn")]
    lease = site.create(parts, name="two", duration=600, initial_state="Propagated")
    return [lease.resources[name] for name in ("ce", "wn")]


def test_a_lessee_reads_bytes_and_rate_of_a_slow_transfer_and_is_told_of_them_without_asking(
    daemon_factory: Callable[..., Daemon], eventually: Eventually, tmp_path: Path, consumer: Consumer
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with image_server(served) as server:
        node = {"image_sources": [server.url("")], "watch_seconds": 0.05}
        toml = _image(server, "slow", 32 * MIB) + "[notification]\nallow_loopback = true\n"
        daemon = daemon_factory(driver="qemu", toml=toml, nodectl=node, root=tmp_path / "site")
        server.drip = 0.05
        server.gate.clear()
        members = _lease(connect(daemon.url), "slow")
        member = members[0]
        watch = consumer.watch(member)
        seen: set[tuple[float, float]] = set()

        def moved() -> bool:
            properties = member.properties()
            if found := PROGRESS.search(properties.reason or ""):
                assert properties.task == "Propagating"
                seen.add((float(found[1]), float(found[2])))
            return len({done for done, _ in seen}) > 1

        eventually(moved)
        assert all(0 < done < 32 and 0 < rate < 100 for done, rate in seen)
        eventually(lambda: heard(watch))
        assert not server.gate.is_set()
        assert server.sent < 32 * MIB
        watch.close()
        for one in members:
            one.destroy()  # which ends the transfer, too
        eventually(lambda: daemon.admin("workspace.list") == [])
        assert not server.gate.is_set()


def heard(watch: Watch) -> bool:
    """Tell whether the next notification is of a transfer's progress."""
    news = watch.queue.get(timeout=120)
    about = news is not None and "of 32.0 MiB" in news.reason
    return about and (news.topic, news.state, news.task) == ("state", "Unpropagated", "Propagating")  # type: ignore[union-attr]


def test_an_image_leaves_its_source_once_for_two_nodes(
    daemon_factory: Callable[..., Daemon], eventually: Eventually, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with image_server(served) as server:
        toml = _image(server, "first", 3 * MIB) + _image(server, "second", 4 * MIB)
        node = {"image_sources": [server.url("")], "peer_address": "127.0.0.0/8", "watch_seconds": 0.05}
        daemon = daemon_factory(driver="qemu", toml=toml, nodectl=node, root=tmp_path / "site")
        site = connect(daemon.url)
        server.gate.clear()
        members = _lease(site, "first")
        for member in members:  # the one behind has it from the one before
            eventually(lambda member=member: " of 3.0 MiB" in (member.properties().reason or ""))
            assert member.properties().task == "Propagating"
            assert member.properties().reason.startswith(f"image {server.url('first')}: ")
        server.gate.set()
        for member in members:
            member.wait("Propagated", timeout=120)
        assert {member.properties().node for member in members} == {"n1", "n2"}
        assert (server.gets(), server.sent) == (1, 3 * MIB)
        for member in members:
            member.destroy()
        eventually(lambda: daemon.admin("workspace.list") == [])
        server.gate.clear()
        members = _lease(site, "second")
        eventually(lambda: all(list((daemon.node_state(name) / "cache").glob("*.part")) for name in ("n1", "n2")))
        for member in members:
            member.destroy()
        eventually(lambda: daemon.admin("workspace.list") == [])  # nobody has said another word meanwhile
        assert not server.gate.is_set()
        assert server.gets() == 2

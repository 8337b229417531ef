"""Nodes of a launch set pass images on: a source sends each once, lessees see how far it is, a destroy ends it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Disk, Part, Resource, Site, connect
from rigs.daemon import Daemon
from rigs.image_server import ImageServer, image_server

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

MIB = 1 << 20
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

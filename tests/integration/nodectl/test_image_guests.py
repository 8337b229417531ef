"""A real guest proves its disks: a fetched image, a cached partition, blank ones; and a real agent tells and obeys."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest
from rigs.image_server import ImageServer, image_server
from rigs.node_agent import AgentProcess

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None or shutil.which("mke2fs") is None, reason="needs QEMU and mke2fs"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ImageServer]:
    folder = tmp_path / "site"
    folder.mkdir()
    with image_server(folder) as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path, site: ImageServer) -> Iterator[AgentProcess]:
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        plain = {"state": str(tmp_path / "state"), "run": f"{run}/run", "images": [str(IMAGES)], "watch_seconds": 0.05}
        path = tmp_path / "nodectl.json"
        path.write_text(
            json.dumps({**plain, "image_sources": [site.url("")], "save_targets": [f"file://{tmp_path}/out"]})
        )
        with AgentProcess(path) as found:
            yield found


def _disk(site: ImageServer, name: str, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256((site.folder / name).read_bytes()).hexdigest()
    return {"name": name, "source": site.url(name), "sha256": digest, **more}


def test_a_guest_has_every_kind_of_disk(
    tmp_path: Path, site: ImageServer, agent: AgentProcess, guest_image: Guest
) -> None:
    shutil.copy(guest_image.entry["path"], site.folder / "root")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "known").write_text("as it was\n")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, site.folder / "data", "8M"], check=True)
    disks = [
        _disk(site, "root", format=guest_image.entry["format"]),
        _disk(site, "data", read_only=True),
        {"name": "scratch", "blank_mb": 64, "file_system": "ext4"},
        {"name": "swap", "blank_mb": 16, "file_system": "swap"},
    ]
    context = "disk 1 data ext4 /data ro\ndisk 2 scratch ext4 /mnt/scratch rw\ndisk 3 swap swap - rw\n"
    made = agent.order("create", "a1", **guest_image.spec("a1", disks=disks, context=context))
    agent.order("start", "a1")
    agent.news("a1", ready=True)
    console = (tmp_path / "state/vms/a1/console.log").read_text(errors="replace")
    told = [line.split() for line in console.splitlines() if line.startswith("GUEST-DISK")]
    assert [(words[1], *words[2:5], words[-1]) for words in told] == [
        ("data", "ext4", "/data", "ro", "ok"),
        ("scratch", "ext4", "/mnt/scratch", "rw", "ok"),
        ("swap", "swap", "-", "rw", "ok"),
    ]
    sizes = [int(words[5].removeprefix("mb=")) for words in told]
    assert 4 <= sizes[0] <= 8
    assert 50 <= sizes[1] <= 64
    assert 15 <= sizes[2] <= 16
    assert made["seconds"]["image"] < 200
    place = tmp_path / "out/root.qcow2"
    place.parent.mkdir()
    refused = agent.answer(agent.send("save", "a1", target=f"file://{place}"))
    assert (refused["ok"], refused["error"]["kind"]) == (False, "conflict")  # it runs
    agent.order("shutdown", "a1", seconds=60)
    saved = agent.order("save", "a1", target=f"file://{place}")["saved"]
    assert saved["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()
    agent.order("destroy", "a1")
    assert not (tmp_path / "state/vms/a1").exists()
    assert sorted(path.stat().st_nlink for path in (tmp_path / "state/cache").iterdir()) == [1, 1]
    again = agent.order("create", "a2", **guest_image.spec("a2", disks=disks, context=context))
    assert (site.gets(), again["status"]) == (2, "created")
    agent.order("destroy", "a2")


def test_how_far_a_transfer_is_becomes_news_and_destroy_ends_it(
    tmp_path: Path, site: ImageServer, agent: AgentProcess, guest_image: Guest
) -> None:
    (site.folder / "root").write_bytes(os.urandom(4 << 20))
    site.gate.clear()
    number = agent.send("create", "a1", **guest_image.spec("a1", disks=[_disk(site, "root")]))
    news = agent.wait(lambda message: message.get("body", {}).get("progress"))
    assert news["body"]["progress"].startswith(f"image {site.url('root')}: 0.")
    listed = agent.order("list")["vms"]
    assert listed[0]["progress"] == news["body"]["progress"]
    gone = agent.send("destroy", "a1")
    refused = agent.answer(number)  # the server has not said another word
    site.gate.set()
    assert (refused["ok"], refused["error"]["kind"]) == (False, "conflict")
    assert "cut short" in refused["error"]["message"]
    assert agent.answer(gone)["ok"]
    assert agent.order("list")["vms"] == []
    assert sorted(path.suffix for path in (tmp_path / "state/cache").iterdir()) == [".part", ".size"]
    agent.order("create", "a1", **guest_image.spec("a1", disks=[_disk(site, "root")]))
    assert site.asked[-1][2] is not None  # the part is gone on with
    agent.order("destroy", "a1")

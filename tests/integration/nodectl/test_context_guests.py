"""A real guest says what it was told, by each of the ways: host names, keys, files with their bytes, roles."""

import base64
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import Guest
from rigs.node import Subject

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None or shutil.which("mke2fs") is None, reason="needs QEMU and mke2fs"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR user@home"
CONTEXT = f"""\
name ce
hostname public-10
role compute-element
role monitor
role broken
requires storage-element
requires worker
token not-for-the-console
{KEY}
member ce compute-element,monitor,broken 10.1.0.10,192.168.7.2 public=public-10 private=private-2
member se storage-element 10.1.0.11 public=public-11
"""
FILES = {
    "/etc/flyinglow/roles/compute-element": (b"#!/bin/sh\necho value port 2811\n", 0o755),
    "/etc/flyinglow/roles/broken": (b"#!/bin/sh\necho 'no \"disk\"'; exit 1\n", 0o755),
    '/opt/app data/a "b" $c;`d`': (bytes(range(256)) * 40, 0o640),
    "/opt/empty": (b"", 0o600),
}
SECONDS = 120  # of a guest's boot, emulated, on a machine that has other work


@pytest.fixture
def node(tmp_path: Path, guest_image: Guest) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        made = Subject("qemu", tmp_path / "state", Path(run) / "run", guest_image.spec)
        yield made
        assert made.kill_all()["failed"] == []


def files() -> list[dict[str, Any]]:
    return [
        {"path": path, "content": base64.b64encode(data).decode(), "mode": mode} for path, (data, mode) in FILES.items()
    ]


def told() -> dict[str, Any]:
    return {"context": CONTEXT, "user_data": "s3cret\n", "files": files(), "keys": [KEY], "hostname": "public-10"}


def says(node: Subject, tag: str) -> list[str]:
    """Boot a VM and return what its guest says."""
    node.node.start(tag)
    node.until(lambda info: info.ready, tag, SECONDS)
    text = (node.node.state.vm(tag).path / "console.log").read_text(errors="replace")
    return [line.strip() for line in text.splitlines() if line.startswith("GUEST-")]


def of(lines: list[str], word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


@pytest.mark.parametrize(
    ("way", "place"),
    [
        pytest.param("auto", "fw_cfg", marks=pytest.mark.full),  # the same is seen through a whole service
        pytest.param("seed", "volume", marks=pytest.mark.full),  # and a seed by the guest that reports
        ("patch", "image"),
    ],
)
def test_a_guest_has_all_that_it_is_told(node: Subject, guest_image: Guest, way: str, place: str) -> None:
    if way == "seed" and shutil.which("xorrisofs") is None:
        pytest.skip("needs xorriso")
    before = Path(guest_image.entry["path"]).read_bytes()
    disks = [*guest_image.spec("a1")["disks"], {"name": "scratch", "blank_mb": 8, "file_system": "ext4"}]
    told_of_disks = told()["context"] + "disk 1 scratch ext4 /mnt/scratch rw\n"
    node.create("a1", **{**told(), "context": told_of_disks}, disks=disks, delivery=way)
    lines = says(node, "a1")
    assert of(lines, "GUEST-CONTEXT") == [f"from={place}"]
    assert of(lines, "GUEST-HOSTNAME") == ["public-10"]
    assert of(lines, "GUEST-USERDATA") == ["bytes=7"]
    assert of(lines, "GUEST-HOSTS") == ["3"]
    assert of(lines, "GUEST-KEY") == ["1"]
    assert sorted(of(lines, "GUEST-FILE")) == sorted(
        f"{path} {mode:o} {hashlib.sha256(data).hexdigest()}" for path, (data, mode) in FILES.items()
    )
    assert of(lines, "GUEST-ROLE") == [
        "provides compute-element ok",
        "provides monitor none",
        "provides broken failed",
        "requires storage-element se 10.1.0.11",
        "requires worker missing",
    ]
    assert [line.split()[0] for line in of(lines, "GUEST-DISK")] == ["scratch"]
    assert of(lines, "GUEST-DISK")[0].endswith("ok")  # a seed does not shift the disks' numbers
    console = (node.node.state.vm("a1").path / "console.log").read_text(errors="replace")
    assert "not-for-the-console" not in console
    assert "s3cret" not in console
    assert Path(guest_image.entry["path"]).read_bytes() == before
    node.node.destroy("a1")
    assert not node.node.state.vm("a1").path.exists()


def test_nothing_is_told_where_the_image_takes_nothing(node: Subject) -> None:
    node.create("a1", **told(), delivery="none")
    vm = node.node.state.vm("a1")
    names = {path.name for path in vm.path.iterdir()}
    assert not names & {"context", "user-data", "files.tar.00", "seed.img", "disk0.patched"}
    assert stat.S_IMODE(vm.path.stat().st_mode) == 0o700

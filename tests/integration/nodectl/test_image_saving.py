"""Disks that are sent away: whole, with the right checksum, to where the site allows, and never at the VM's cost."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import ConflictError, DeniedError, ExhaustedError, FlyingLowError, InvalidError
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.images.saving import Saver, forget
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir
from rigs.image_server import ImageServer, image_server

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 2  # 2 MiB

pytestmark = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-utils is not installed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ImageServer]:
    folder = tmp_path / "site"
    folder.mkdir()
    with image_server(folder) as server:
        yield server


class World:
    """One VM that is down, whose disk was written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = StateDir(folder / "state", folder / "run")
        self.state.prepare()
        (folder / "base.raw").write_bytes(DATA)
        self.spec = VmSpec("a1", "ce", 96, 1, disks=(DiskSpec("root", source=str(folder / "base.raw")),))
        self.vm: VmDir = self.state.vm("a1")
        self.vm.create(self.spec)
        Images(self._config()).prepare(self.vm, self.spec)
        self.write(b"B")

    def write(self, letter: bytes) -> None:
        """Let the guest write 64 KiB in the middle of its disk."""
        words = ["qemu-io", "-f", "qcow2", "-c", f"write -P {letter[0]} 1M 64k", str(self.vm.path / "disk0.qcow2")]
        subprocess.run(words, check=True, capture_output=True)
        self.now = DATA[:MIB] + letter * 65536 + DATA[MIB + 65536 :]

    def save(self, target: object, settings: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        """Save the disk."""
        given = {"save_targets": [f"file://{self.folder}/out", "http://127.0.0.1"], **(settings or {})}
        return Saver(self._config(**given)).save(self.vm, self.spec, {"target": target, "format": "raw", **body})

    def _config(self, **settings: Any) -> config.Config:
        plain = {"state": str(self.state.path), "run": str(self.state.run), "images": [str(self.folder)]}
        return config.build({**plain, "image_timeout": 5, **settings})

    def intact(self) -> bool:
        """Tell whether the VM has its disk, and nothing else was left."""
        names = {path.name for path in self.vm.path.iterdir()}
        return names - {"saved.json"} == {"spec.json", "disk0.qcow2"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "out").mkdir()
    return World(tmp_path)


def test_what_is_saved_is_the_whole_disk_as_it_is_now(world: World) -> None:
    done = world.save(f"file://{world.folder}/out/a.raw")
    saved = world.folder / "out/a.raw"
    assert saved.read_bytes() == world.now
    assert done == {
        "target": f"file://{saved}",
        "format": "raw",
        "disk": "root",
        "sha256": hashlib.sha256(world.now).hexdigest(),
        "bytes": 2 * MIB,
    }
    assert world.intact()
    assert [path.name for path in saved.parent.iterdir()] == ["a.raw"]


def test_a_saved_qcow2_needs_no_other_file(world: World) -> None:
    world.save(f"file://{world.folder}/out/a.qcow2", format="qcow2")
    (world.folder / "base.raw").unlink()
    out = world.folder / "back"
    words = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(world.folder / "out/a.qcow2"), str(out)]
    subprocess.run(words, check=True)
    assert out.read_bytes() == world.now


def test_a_repeated_order_finds_it_done_until_the_vm_ran_again(world: World, site: ImageServer) -> None:
    settings = {"save_targets": [site.url("")]}
    first = world.save(site.url("a.raw", "me:s3cr3t@"), settings)
    assert world.save(site.url("a.raw", "me:s3cr3t@"), settings) == first
    assert [method for method, _, _ in site.asked] == ["PUT"]
    assert "s3cr3t" not in (world.vm.path / "saved.json").read_text()
    forget(world.vm)
    world.write(b"C")
    world.save(site.url("a.raw"), settings)
    assert (site.folder / "a.raw").read_bytes() == world.now


def test_a_refusal_or_an_end_on_the_way_leaves_the_disks_and_says_so(world: World, site: ImageServer) -> None:
    settings = {"save_targets": [site.url("")]}
    for status, words in ((507, "507"), (403, "403"), (503, "503")):
        site.fails = [status]
        with pytest.raises(FlyingLowError, match=words):
            world.save(site.url("a.raw"), settings)
        assert world.intact()
    assert not (site.folder / "a.raw").exists()
    notes.cut_short(world.vm.path)
    with pytest.raises(Cancelled):
        world.save(site.url("a.raw"), settings)


def test_a_name_that_is_taken_is_not_replaced(world: World) -> None:
    (world.folder / "out/a.raw").write_text("somebody's")
    with pytest.raises(ConflictError, match="is not replaced"):
        world.save(f"file://{world.folder}/out/a.raw")
    assert (world.folder / "out/a.raw").read_text() == "somebody's"
    assert world.intact()


def test_nothing_is_saved_where_the_site_does_not_allow_it(world: World) -> None:
    (world.folder / "out/link").symlink_to(world.folder)
    for target in (
        f"file://{world.folder}/a.raw",
        f"file://{world.folder}/out/../a.raw",
        f"file://{world.folder}/out/link/a.raw",
        f"file://{world.folder}/out/none/a.raw",
        f"file://{world.folder}/out/",
        "http://127.0.0.2/a.raw",
        "scp://127.0.0.1/a.raw",
        "/etc/passwd",
        "store:x",
        None,
    ):
        with pytest.raises((DeniedError, InvalidError)):
            world.save(target)
    with pytest.raises(InvalidError):
        world.save(f"file://{world.folder}/out/a", format="vmdk")
    with pytest.raises(InvalidError, match="no disk"):
        world.save(f"file://{world.folder}/out/a", disk="other")
    assert world.intact()


def test_root_saves_where_it_was_told_and_nobody_else_can_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(DeniedError, match="save_targets"):
        world.save(f"file://{world.folder}/out/a.raw", {"save_targets": []})
    os.chmod(world.folder / "out", 0o777)  # noqa: PTH101 - Path.chmod is the same
    with pytest.raises(DeniedError, match="writable by another"):
        world.save(f"file://{world.folder}/out/a.raw")


def test_a_copy_must_fit_beside_what_is_kept_back(world: World) -> None:
    with pytest.raises(ExhaustedError, match="no room for a copy"):
        world.save(f"file://{world.folder}/out/a.raw", {"minimum_free_disk_mb": 1 << 40})

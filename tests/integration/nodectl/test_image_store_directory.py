"""A store that is a directory: what was saved there is taken from there again, and nothing that leads out of it."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.images.disks import Images, disk_files
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

DATA = os.urandom(1 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine/ce.raw").write_bytes(DATA)
    return folder


def prepare(tmp_path: Path, store: Path, source: str, **changes: Any) -> tuple[VmDir, VmSpec]:
    plain = {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "image_store": f"file://{store}"}
    settings = config.build({**plain, "image_sources": ["http://127.0.0.1:1", "scp://localhost:1"]})
    state = StateDir(settings.state, settings.run)
    state.prepare()
    vm = state.vm("a1")
    spec = VmSpec("a1", "ce", 96, 1, disks=(DiskSpec("root", source=source, sha256=DIGEST, **changes),))
    vm.create(spec)
    Images(settings).prepare(vm, spec)
    return vm, spec


def test_it_is_kept_in_the_cache_by_its_checksum(tmp_path: Path, store: Path) -> None:
    vm, spec = prepare(tmp_path, store, "store:mine/ce.raw", read_only=True)
    (file,) = disk_files(vm, spec)
    assert file.path.read_bytes() == DATA
    assert file.path.stat().st_ino == (tmp_path / "s/cache" / DIGEST).stat().st_ino


def test_a14_what_leads_out_of_it_or_is_no_file_is_refused(tmp_path: Path, store: Path) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    (store / "link").symlink_to(tmp_path / "secret")
    (store / "out").symlink_to(tmp_path)
    (store / "inside").symlink_to(store / "mine/ce.raw")
    os.mkfifo(store / "fifo")
    with pytest.raises(DeniedError, match="leads out of the store"):
        prepare(tmp_path, store, "store:link")
    with pytest.raises(DeniedError, match="leads out of the store"):
        prepare(tmp_path, store, "store:out/secret")
    for name in ("inside", "fifo", "mine", "nothing"):
        with pytest.raises(InvalidError):
            prepare(tmp_path, store, f"store:{name}")


def test_other_bytes_than_asked_for_are_refused(tmp_path: Path, store: Path) -> None:
    (store / "mine/ce.raw").write_bytes(b"other")
    with pytest.raises(InvalidError, match="has checksum"):
        prepare(tmp_path, store, "store:mine/ce.raw")


def test_a_strangers_uri_reaches_nothing_of_this_machine(tmp_path: Path, store: Path) -> None:
    for source in ("http://127.0.0.1:1/x", "scp://localhost:1/x"):
        with pytest.raises(DeniedError, match="no public address"):
            prepare(tmp_path, store, source, public=True)

"""Raw copies for Xen: bounded by what the guest sees, watched, told of, and ended when they are not wanted any more."""

import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError
from flyinglow.nodectl.hypervisor.xen_disks import RawDisks, raw_files
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir
from rigs.waiting import eventually

MIB = 1 << 20
ENDLESS = "#!/bin/sh\nfor word; do target=$word; done\nhead -c 2097152 /dev/zero >$target\nexec sleep 600\n"

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "images"
    found.mkdir()
    return found


def _disks(folder: Path, **settings: Any) -> RawDisks:
    made = config.build({"state": str(folder.parent / "state"), "images": [str(folder)], **settings})
    StateDir(made.state, made.run).prepare()
    return RawDisks(made, Images(made))


def _vm(folder: Path, *disks: DiskSpec) -> tuple[VmDir, VmSpec]:
    spec = VmSpec("a1", "ce", 96, 1, disks=disks)
    vm = StateDir(folder.parent / "state", folder.parent / "run").vm("a1")
    vm.create(spec)
    return vm, spec


def test_a_writable_disk_is_a_raw_copy_with_its_holes_and_a_read_only_one_is_not_copied(folder: Path) -> None:
    with (folder / "a.raw").open("wb") as file:
        file.truncate(64 * MIB)
        file.write(b"x" * 4096)
    words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(folder / "a.raw"), str(folder / "a.qcow2")]
    subprocess.run(words, check=True)
    disks = _disks(folder)
    vm, spec = _vm(
        folder,
        DiskSpec("root", source=str(folder / "a.raw")),
        DiskSpec("other", source=str(folder / "a.qcow2"), format="qcow2"),
        DiskSpec("data", source=str(folder / "a.raw"), read_only=True),
    )
    disks.prepare(vm, spec)
    root, other, data = raw_files(vm, spec)
    assert root.path.read_bytes() == other.path.read_bytes() == (folder / "a.raw").read_bytes()
    assert root.path.stat().st_blocks * 512 < MIB
    assert (root.path.parent, data.path) == (vm.path, folder / "a.raw")
    assert notes.told(vm.path) == ""


def test_a_small_file_that_becomes_a_large_copy_is_counted_as_what_it_becomes(folder: Path) -> None:
    free_mb = shutil.disk_usage(folder).free // MIB
    words = ["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "bomb.qcow2"), f"{free_mb + 1024}M"]
    subprocess.run(words, check=True)
    assert (folder / "bomb.qcow2").stat().st_size < MIB * 4
    vm, spec = _vm(folder, DiskSpec("root", source=str(folder / "bomb.qcow2"), format="qcow2"))
    with pytest.raises(ExhaustedError, match="too little disk"):
        _disks(folder, image_max_mb=free_mb + 2048).prepare(vm, spec)


def test_a_copy_that_is_not_wanted_any_more_ends_and_how_far_it_is_can_be_read(folder: Path) -> None:
    program = folder.parent / "qemu-img"
    program.write_text(ENDLESS)
    program.chmod(0o755)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "a.qcow2"), "64M"], check=True)
    disks = _disks(folder, qemu_img=str(program))
    vm, spec = _vm(folder, DiskSpec("root", source=str(folder / "a.qcow2"), format="qcow2"))
    caught: list[FlyingLowError] = []

    def prepare() -> None:
        try:
            disks.prepare(vm, spec)
        except FlyingLowError as error:
            caught.append(error)

    thread = threading.Thread(target=prepare)
    thread.start()
    eventually(lambda: notes.told(vm.path).startswith("copying root: 2.0 of 64.0 MiB"))
    notes.cut_short(vm.path)
    thread.join(60)
    assert [type(error) for error in caught] == [Cancelled]


def test_a_program_that_fails_or_is_not_there_is_named(folder: Path) -> None:
    program = folder.parent / "qemu-img"
    program.write_text("#!/bin/sh\necho no such cluster >&2\nexit 3\n")
    program.chmod(0o755)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "a.qcow2"), "64M"], check=True)
    vm, spec = _vm(folder, DiskSpec("root", source=str(folder / "a.qcow2"), format="qcow2"))
    for name, words in ((program, "failed with 3: no such cluster"), (folder / "none", "cannot be run on this node")):
        with pytest.raises(BrokenError, match=words):
            _disks(folder, qemu_img=str(name)).prepare(vm, spec)

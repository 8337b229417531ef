"""Files are written into file systems that nobody mounts, by the real debugfs, and the whole is checked afterwards."""

import base64
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.context import files, patch
from flyinglow.nodectl.context.debugfs import FileSystem, Programs, Written
from flyinglow.nodectl.context.delivery import Delivery
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, InvalidError
from flyinglow.nodectl.hypervisor.xen_disks import RawDisks
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.images.meter import MIB, Cancelled
from flyinglow.nodectl.messages import DiskSpec, GuestFile, VmSpec
from flyinglow.nodectl.vmdir import VmDir

pytestmark = pytest.mark.skipif(
    shutil.which("debugfs") is None or shutil.which("qemu-img") is None, reason="needs e2fsprogs and qemu-utils"
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return an ext4 image with what images have: links in place of folders, files to be replaced."""
    tree = tmp_path / "tree"
    for folder in ("etc/cloud", "usr/lib", "root"):
        (tree / folder).mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "run").symlink_to("/nowhere")
    (tree / "etc/resolv.conf").symlink_to("/run/resolv.conf")
    (tree / "etc/hostname").write_text("as it was\n")
    (tree / "etc/cloud/cloud.cfg").write_text("")
    made = tmp_path / "image.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, made, "8M"], check=True)
    return made


def system(image: Path, tmp_path: Path, **programs: str) -> FileSystem:
    scratch = tmp_path / "scratch dir"
    scratch.mkdir(exist_ok=True)
    return FileSystem(image, Programs(**programs), scratch)


def content(image: Path, path: str, offset: int = 0) -> bytes:
    name = f"{image}?offset={offset}" if offset else str(image)
    words = ["debugfs", "-R", f"cat {patch_word(path)}", name]
    return subprocess.run(words, capture_output=True, check=True).stdout


def patch_word(path: str) -> str:
    return '"' + path.replace('"', '""') + '"'


def facts(image: Path, path: str) -> str:
    words = ["debugfs", "-R", f"stat {patch_word(path)}", str(image)]
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout


def test_files_take_the_place_of_what_is_there_with_mode_and_owner(image: Path, tmp_path: Path) -> None:
    made = system(image, tmp_path)
    assert (made.has("/etc/cloud/cloud.cfg"), made.has("/etc/nothing"), made.has("/etc/hostname/x")) == (
        True, False, False,
    )  # fmt: skip
    given = [
        Written("/etc/hostname", b"ce\n"),
        Written("/etc/resolv.conf", b"nameserver 10.0.0.1\n"),
        Written("/lib/modules/a/b", b"deep"),
        Written('/opt/a "b" <2> $c;`d`', bytes(range(256)), 0o4750),
        Written("/<2>", b"no inode"),
        Written("/-x", b""),
    ]
    made.write(given)
    for file in given:
        assert content(image, file.path) == file.data
    assert content(image, "/usr/lib/modules/a/b") == b"deep"
    found = facts(image, '/opt/a "b" <2> $c;`d`')
    assert "Type: regular    Mode:  04750" in found
    assert "User:     0   Group:     0" in found
    assert "Type: directory    Mode:  0755" in facts(image, "/usr/lib/modules/a")
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    system(image, tmp_path).write(given)  # again: nothing is there twice
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (Written("/etc/cloud", b""), "is a folder in the image"),
        (Written("/etc/hostname/x", b""), "does not take its context"),
        (Written("/run/x", b""), "does not take its context"),
        (Written("/etc/x\nrm /etc/hostname", b""), "cannot be the name"),
        (Written("/etc/big", os.urandom(9 << 20)), "does not take its context"),
    ],
)
def test_what_an_image_cannot_take_is_an_error_though_debugfs_ends_with_0(
    image: Path, tmp_path: Path, file: Written, words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        system(image, tmp_path).write([file])
    assert content(image, "/etc/hostname") == b"as it was\n"


def test_a_file_system_that_is_damaged_or_was_not_unmounted_is_refused(image: Path, tmp_path: Path) -> None:
    data = bytearray(image.read_bytes())
    flags = 1024 + 0x60
    struct.pack_into("<I", data, flags, struct.unpack_from("<I", data, flags)[0] | 4)
    (tmp_path / "mounted").write_bytes(data)
    with pytest.raises(InvalidError, match="was not unmounted"):
        system(tmp_path / "mounted", tmp_path)
    subprocess.run(["debugfs", "-w", "-R", "clri <11>", image], check=True, capture_output=True)  # lost+found
    with pytest.raises(BrokenError, match="e2fsck failed"):
        system(image, tmp_path).write([Written("/etc/x", b"")])
    with pytest.raises(BrokenError, match=r"not on this node.*e2fsprogs"):
        system(image, tmp_path, debugfs="/nowhere/debugfs").has("/etc")


def test_a_partition_is_written_to_where_it_lies(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    entry = struct.pack("<4xB3xII", 0x83, 2048, image.stat().st_size // 512)
    disk.write_bytes((b"\0" * 446 + entry).ljust(510, b"\0") + b"\x55\xaa" + b"\0" * (2048 * 512 - 512))
    with disk.open("ab") as file:
        file.write(image.read_bytes())
    system(disk, tmp_path).write([Written("/etc/x", b"here")])
    assert content(disk, "/etc/x", 2048 * 512) == b"here"


def node(tmp_path: Path, **settings: Any) -> tuple[config.Config, VmDir]:
    made = config.build({"state": str(tmp_path / "state"), "images": [str(tmp_path)], **settings})
    vm = VmDir(tmp_path / "state/vms/a1", tmp_path / "run")
    vm.path.mkdir(parents=True, mode=0o700)
    return made, vm


def spec(image: Path, **changes: Any) -> VmSpec:
    disk = DiskSpec("root", str(image), format="qcow2" if image.suffix == ".qcow2" else "raw")
    given = (GuestFile("/srv/a", base64.b64encode(b"mine").decode(), 0o600),)
    plain = VmSpec("a1", "ce", 64, 1, disks=(disk,), hostname="ce", context="name ce\n", files=given, delivery="patch")
    return replace(plain, **changes)


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_only_the_vms_own_copy_is_written_to_and_a_second_attempt_begins_anew(
    image: Path, tmp_path: Path, form: str
) -> None:
    source = tmp_path / f"source.{form}"
    subprocess.run(["qemu-img", "convert", "-O", form, image, source], check=True)
    before = source.read_bytes()
    made, vm = node(tmp_path)
    wanted = spec(source)
    Images(made).prepare(vm, wanted)
    (vm.path / "disk0.patched").write_bytes(b"half a copy")  # as a creation that was cut short leaves it
    (vm.path / "patchxyz").mkdir()
    (vm.path / "seed.img").write_bytes(b"")
    for _ in range(2):
        Delivery(made).deliver(vm, wanted)
        assert sorted(path.name for path in vm.path.iterdir()) == ["disk0.patched", "disk0.qcow2"]
    assert source.read_bytes() == before
    flat = tmp_path / "flat.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", vm.path / "disk0.qcow2", flat], check=True)
    assert content(flat, "/srv/a") == b"mine"
    assert content(flat, "/etc/flyinglow/context") == b"name ce\n"
    assert b"instance-id" in content(flat, "/var/lib/cloud/seed/nocloud/meta-data")


def test_xens_copies_are_written_to_as_they_are(image: Path, tmp_path: Path) -> None:
    before = image.read_bytes()
    made, vm = node(tmp_path, driver="xen")
    wanted = spec(image)
    RawDisks(made, Images(made)).prepare(vm, wanted)
    Delivery(made).deliver(vm, wanted)
    assert content(vm.path / "disk0.raw", "/srv/a") == b"mine"
    assert sorted(path.name for path in vm.path.iterdir()) == ["disk0.raw"]
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"disks": ()}, "a first disk of an image's"),
        ({"disks": (DiskSpec("d", blank_mb=8),)}, "a first disk of an image's"),
        ({"disks": (DiskSpec("d", "image.raw", read_only=True),)}, "not read-only"),
    ],
)
def test_a_vm_without_a_disk_of_its_own_is_refused(
    image: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    made, vm = node(tmp_path)
    with pytest.raises(FlyingLowError, match=words):
        Delivery(made).deliver(vm, spec(image, **change))


def test_a_disk_without_room_for_the_copy_is_said_to_be_full(image: Path, tmp_path: Path) -> None:
    made, vm = node(tmp_path, minimum_free_disk_mb=0)
    wanted = spec(image)
    Images(made).prepare(vm, wanted)
    with pytest.raises(ExhaustedError, match="no room for a copy of the image"):
        patch.make(vm, wanted, replace(made, minimum_free_disk_mb=1 << 40))


def test_files_of_the_limits_own_size_get_through(image: Path, tmp_path: Path) -> None:
    data = os.urandom(files.MOST_BYTES)
    system(image, tmp_path).write([Written("/srv/large", data)])
    assert content(image, "/srv/large") == data


@pytest.mark.parametrize("length", [1082, 1100, 1123])
def test_an_image_that_ends_within_its_superblock_is_refused(image: Path, tmp_path: Path, length: int) -> None:
    os.truncate(image, length)
    with pytest.raises(InvalidError):
        system(image, tmp_path)


def test_a_packed_image_needs_the_room_of_what_it_unpacks_to_and_is_not_unpacked_for_nobody(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "48G"], check=True)
    vm = VmDir(tmp_path / "k1", tmp_path)
    disk = DiskSpec(name="root", source=str(image), format="qcow2")
    spec = VmSpec(tag="k1", name="k1", memory_mb=64, cpus=1, disks=(disk,), context="hello\n")
    vm.create(spec)
    settings = config.build({"state": str(tmp_path), "images": [str(tmp_path)]})
    status = os.statvfs(tmp_path)
    tight = replace(settings, minimum_free_disk_mb=max(status.f_bavail * status.f_frsize // MIB - 1024, 0))
    with pytest.raises(ExhaustedError, match="49152 MiB"):
        patch._copy(vm, spec, tmp_path / "copy", tight)
    notes.cut_short(vm.path)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    with pytest.raises(Cancelled):
        patch._copy(vm, spec, tmp_path / "copy", settings)
    assert notes.told(vm.path) == ""

"""Where images may come from, and that they are what was ordered."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import DeniedError, ExhaustedError, InvalidError
from flyinglow.nodectl.images.disks import Images, disk_files
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "base.raw"
    path.parent.mkdir()
    path.write_bytes(b"x" * 4096)
    return path


@pytest.fixture
def vm(tmp_path: Path) -> VmDir:
    vm = VmDir(tmp_path / "state/vms/a1", tmp_path)
    vm.path.mkdir(parents=True)
    return vm


def _images(tmp_path: Path, **settings: Any) -> Images:
    return Images(config.build({"state": str(tmp_path / "state"), "images": [str(tmp_path / "images")], **settings}))


def _spec(*disks: DiskSpec) -> VmSpec:
    return VmSpec("a1", "ce", 96, 1, disks=disks)


def test_a14_only_regular_files_below_the_sites_directories(tmp_path: Path, image: Path) -> None:
    images = _images(tmp_path, images=[str(image.parent)])
    assert images.locate(str(image)) == image
    assert images.locate(f"file://{image}") == image
    outside = tmp_path / "secret"
    outside.write_text("x")
    (image.parent / "link").symlink_to(outside)
    os.mkfifo(image.parent / "fifo")
    for source in (
        str(outside),
        str(image.parent / "link"),
        f"{image.parent}/../secret",
        str(image.parent / "fifo"),
        str(image.parent),
        str(image.parent / "none"),
        "base.raw",
        f"file://{image.parent}/base.raw%00",
        f"file://{image.parent}/%2e%2e/secret",
        f"{image.parent}/{'x' * 300}",
        "../../x",
        "http://example.org/a",
        "file://elsewhere/a",
        "/dev/null",
        f"{image.parent.parent}-images/x",
    ):
        with pytest.raises((InvalidError, DeniedError)):
            images.locate(source)
    for source in (str(outside), str(image.parent / "link"), str(tmp_path / "none")):  # there or not: not told
        with pytest.raises(DeniedError, match="configuration key images"):
            images.locate(source)


@needs_qemu_img
def test_every_vm_gets_an_overlay_and_the_image_stays_as_it_is(tmp_path: Path, image: Path, vm: VmDir) -> None:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    spec = _spec(
        DiskSpec("root", source=str(image), sha256=digest.upper()),
        DiskSpec("ro", source=str(image), read_only=True),
        DiskSpec("scratch", blank_mb=64),
    )
    images = _images(tmp_path)
    images.prepare(vm, spec)
    images.prepare(vm, spec)
    root, read_only, scratch = disk_files(vm, spec)
    assert (root.path.parent, root.format, root.read_only) == (vm.path, "qcow2", False)
    assert (read_only.path, read_only.format, read_only.read_only) == (image, "raw", True)
    assert (scratch.path.stat().st_size, scratch.format) == (64 << 20, "raw")
    assert scratch.path.stat().st_blocks == 0
    assert hashlib.sha256(image.read_bytes()).hexdigest() == digest


@needs_qemu_img
def test_an_image_is_read_once_for_every_state_of_its_file(tmp_path: Path, image: Path, vm: VmDir) -> None:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    spec = _spec(DiskSpec("root", source=str(image), sha256=digest))
    status = image.stat()
    _images(tmp_path).prepare(vm, spec)
    image.write_bytes(b"y" * 4096)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    _images(tmp_path).prepare(vm, spec)  # size and time as before: not read again, by another program neither
    os.utime(image, ns=(0, status.st_mtime_ns + 1))
    with pytest.raises(InvalidError, match="checksum"):
        _images(tmp_path).prepare(vm, spec)


@needs_qemu_img
def test_an_image_that_names_another_file_is_refused(tmp_path: Path, image: Path, vm: VmDir) -> None:
    evil = image.parent / "evil.qcow2"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image), str(evil)]
    subprocess.run(words, check=True)
    with pytest.raises(InvalidError, match="refers to another file"):
        _images(tmp_path).prepare(vm, _spec(DiskSpec("root", source=str(evil), format="qcow2")))


@needs_qemu_img
def test_an_image_whose_data_is_another_file_is_refused(tmp_path: Path, image: Path, vm: VmDir) -> None:
    evil = image.parent / "evil.qcow2"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/other.raw", str(evil), "1M"]
    subprocess.run(words, check=True)
    with pytest.raises(InvalidError, match="refers to another file"):
        _images(tmp_path).prepare(vm, _spec(DiskSpec("root", source=str(evil), format="qcow2", read_only=True)))


@needs_qemu_img
def test_a_raw_image_stays_raw_whatever_is_written_in_it(tmp_path: Path, image: Path, vm: VmDir) -> None:
    (image.parent / "secret").write_text("x")
    evil = image.parent / "evil.raw"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.parent / "secret"), str(evil)]
    subprocess.run(words, check=True)
    spec = _spec(DiskSpec("root", source=str(evil)), DiskSpec("ro", source=str(evil), read_only=True))
    _images(tmp_path).prepare(vm, spec)
    overlay, direct = disk_files(vm, spec)
    words = ["qemu-img", "info", "--backing-chain", "--output=json", "-f", "qcow2", str(overlay.path)]
    chain = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    assert [layer["format"] for layer in chain] == ["qcow2", "raw"]
    assert direct.format == "raw"


def test_roots_agent_takes_images_from_its_own_directory_when_none_is_named(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(DeniedError, match=f"{config.ROOT_IMAGES}.*configuration key images"):
        _images(tmp_path, images=[]).locate(str(image))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert _images(tmp_path, images=[]).locate(str(image)) == image


def test_kernels_and_initial_ram_disks_are_held_to_the_same_directories(tmp_path: Path, image: Path, vm: VmDir) -> None:
    (tmp_path / "secret").write_text("x")
    for kernel, initrd in ((tmp_path / "secret", None), (image, str(tmp_path / "secret"))):
        with pytest.raises(DeniedError, match="configuration key images"):
            _images(tmp_path).prepare(vm, VmSpec("a1", "ce", 96, 1, kernel=str(kernel), initrd=initrd))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to others needs root")
def test_root_takes_no_images_from_where_another_user_could_exchange_them(tmp_path: Path, image: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "images-of-root").symlink_to(image.parent)
    for name in ("images", "images-of-root"):
        listed = _images(tmp_path, images=[str(tmp_path / name)])
        for weak, spoil, mend in (
            (image.parent, lambda path: os.chown(path, 65534, 0), lambda path: os.chown(path, 0, 0)),
            (image.parent, lambda path: path.chmod(0o777), lambda path: path.chmod(0o755)),
            (tmp_path, lambda path: os.chown(path, 65534, 0), lambda path: os.chown(path, 0, 0)),
            (tmp_path / name, lambda path: os.lchown(path, 65534, 0), lambda path: os.lchown(path, 0, 0)),
        ):
            spoil(weak)
            with pytest.raises(DeniedError, match=str(weak)):
                listed.locate(str(image))
            mend(weak)
        assert listed.locate(str(image)) == image


def test_blank_disks_must_fit_beside_what_is_kept_back(tmp_path: Path, vm: VmDir) -> None:
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize >> 20
    disks = (DiskSpec("a", blank_mb=free), DiskSpec("b", blank_mb=free))
    with pytest.raises(ExhaustedError, match=f"{2 * free} MiB asked for, 64 MiB kept back") as caught:
        _images(tmp_path).prepare(vm, _spec(*disks))
    assert caught.value.figures["disk_mb.asked"] == 2 * free
    assert caught.value.figures["disk_mb.free"] <= free + 64
    _images(tmp_path, minimum_free_disk_mb=0).prepare(vm, _spec(DiskSpec("a", blank_mb=1)))


def test_space_is_kept_back(tmp_path: Path, vm: VmDir) -> None:
    with pytest.raises(ExhaustedError, match="too little disk") as caught:
        _images(tmp_path, minimum_free_disk_mb=1 << 40).prepare(vm, _spec())
    assert str(tmp_path / "state") in caught.value.message
    assert caught.value.figures["disk_mb.kept"] == 1 << 40

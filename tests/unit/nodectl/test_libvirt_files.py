"""What a VM's QEMU of another user is given: its files, which nobody else reads, whatever the program's umask."""

import base64
import os
import pwd
from pathlib import Path

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.context.delivery import Items
from flyinglow.nodectl.context.ways import PATCHED
from flyinglow.nodectl.errors import TransientError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.hardware import Hardware
from flyinglow.nodectl.hypervisor.libvirt import Libvirt
from flyinglow.nodectl.images.disks import DiskFile
from flyinglow.nodectl.messages import GuestFile, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir
from rigs import libvirt

USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def vm(tmp_path: Path) -> VmDir:
    state = StateDir(tmp_path / "state", tmp_path / "run")
    state.prepare()
    files = (GuestFile("/etc/x", base64.b64encode(os.urandom(200_000)).decode()),)
    spec = VmSpec("a1", "a1", 64, 1, context="a token", user_data="data", files=files)
    made = state.vm("a1")
    made.create(spec)
    before = os.umask(0)
    try:
        Items().deliver(made, spec)
    finally:
        os.umask(before)
    return made


def driver(vm: VmDir, **settings: object) -> Libvirt:
    made = config.build({"state": str(vm.path.parent.parent), "driver": "libvirt", **settings})
    state = StateDir(made.state, vm.sockets.parent)
    return Libvirt(made, Accelerator.__new__(Accelerator), Hardware(made, state))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_context_is_for_its_owner_alone_from_the_first_byte_on(vm: VmDir) -> None:
    written = {path.name: mode(path) for path in vm.path.iterdir()}
    assert {"context", "user-data", "files.tar.00", "files.tar.01"} <= set(written)
    assert set(written.values()) == {0o600}


def test_the_user_of_the_sites_qemus_gets_the_vms_files_and_nobody_else_sees_them(vm: VmDir, tmp_path: Path) -> None:
    image, overlay = tmp_path / "image.raw", vm.path / "disk0.qcow2"
    given = [overlay, vm.path / "seed.img", vm.path / PATCHED]
    for path in (image, *given):
        path.touch()
        path.chmod(0o644)
    disks = [DiskFile(overlay, "qcow2", False), DiskFile(given[1], "raw", True), DiskFile(image, "raw", True)]
    driver(vm, run_as=USER)._hand_over(vm, disks)
    user = pwd.getpwnam(USER)
    for folder in (vm.path, vm.path.parent, vm.path.parent.parent):
        assert (mode(folder), folder.stat().st_gid, folder.stat().st_uid) == (0o710, user.pw_gid, os.geteuid())
    given += [vm.path / name for name in ("console.log", "context", "user-data", "files.tar.00", "files.tar.01")]
    for path in given:
        assert (path.name, mode(path), path.stat().st_uid) == (path.name, 0o600, user.pw_uid)
    assert (mode(image), image.stat().st_uid) == (0o644, os.geteuid())  # it is the site's, not the VM's


def test_a_daemon_that_goes_away_while_it_is_asked_is_told_as_passing(
    vm: VmDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = libvirt.module()
    lost = module.libvirtError("gone")
    lost.err = (module.VIR_ERR_RPC, module.VIR_FROM_RPC, "gone", 2, "", "", "", 0, 0)

    class Lost:
        def isActive(self) -> bool:
            raise lost

        getType = isActive  # noqa: N815 - as libvirt calls it

    asked = driver(vm)
    monkeypatch.setattr(asked, "_domain", lambda _: Lost())
    with pytest.raises(TransientError):
        asked._went_down(vm, 0)
    with pytest.raises(TransientError):
        asked._kind(Lost(), vm.spec())

"""The script of Xen's disks, on this machine's own loop devices; what Xen's store holds are files here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.nodectl.hypervisor import xen_block

pytestmark = pytest.mark.root

BUS = "backend/vbd/7/51712"
READ = """#!/bin/sh
cat "{store}/$1"
"""
WRITE = """#!/bin/sh
while [ $# -gt 0 ]; do printf '%s\\n' "$2" > "{store}/$1"; shift 2; done
"""


class Backend:
    """One disk of a domain, as its back-end knows it."""

    def __init__(self, folder: Path) -> None:
        self.file, self._store, self._bin = folder / "disk with, comma.raw", folder / "store", folder / "bin"
        self.file.write_bytes(bytes(1 << 20))
        (self._store / BUS).mkdir(parents=True)
        self._bin.mkdir()
        self._script = folder / "xen-block"
        self._script.write_text(xen_block.SCRIPT.replace("PATH=/usr/local/sbin", f"PATH={self._bin}:/usr/local/sbin"))
        for name, text in (("xenstore-read", READ), ("xenstore-write", WRITE)):
            (self._bin / name).write_text(text.format(store=self._store))
        for path in (self._script, *self._bin.iterdir()):
            path.chmod(0o755)

    def write(self, **values: str) -> None:
        for name, value in values.items():
            (self._store / BUS / name).write_text(f"{value}\n")

    def read(self, name: str) -> str:
        path = self._store / BUS / name
        return path.read_text().strip() if path.exists() else ""

    def run(self, verb: str) -> int:
        environment = {**os.environ, "XENBUS_PATH": BUS}
        return subprocess.run([str(self._script), verb], env=environment, check=False, timeout=120).returncode

    def loops(self) -> list[str]:
        listed = subprocess.run(["losetup", "-n", "-O", "NAME", "-j", str(self.file)], capture_output=True, check=True)
        return listed.stdout.decode().split()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    made = Backend(tmp_path)
    made.write(params=str(made.file), mode="w", state="2")
    yield made
    for device in made.loops():
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.mark.parametrize(("mode", "read_only"), [("w", "0"), ("r", "1")])
def test_a_disks_file_is_given_to_a_loop_device_and_taken_from_it(backend: Backend, mode: str, read_only: str) -> None:
    backend.write(mode=mode)
    assert backend.run("add") == 0
    (device,) = backend.loops()
    assert (backend.read("hotplug-status"), backend.read("node")) == ("connected", device)
    assert backend.read("physical-device-path") == device
    major, minor = (int(part, 16) for part in backend.read("physical-device").split(":"))
    assert Path(device).stat().st_rdev == os.makedev(major, minor)
    assert Path(f"/sys/block/{Path(device).name}/ro").read_text().strip() == read_only
    assert backend.run("remove") == 0
    assert backend.loops() == []


def test_what_xen_has_given_up_keeps_no_loop_device(backend: Backend) -> None:
    backend.write(state="5")
    assert backend.run("add") == 1
    assert (backend.read("hotplug-status"), backend.read("hotplug-error")) == ("error", "given up")
    assert backend.loops() == []
    assert backend.run("remove") == 0  # nothing was ever given


def test_a_file_that_is_gone_is_said_to_be(backend: Backend) -> None:
    backend.write(params="/nowhere/disk.raw")
    assert backend.run("add") == 1
    assert backend.read("hotplug-status") == "error"
    assert "/nowhere/disk.raw" in backend.read("hotplug-error")


def test_the_script_is_put_there_once_and_anew_when_somebody_changed_it(tmp_path: Path) -> None:
    path = Path(xen_block.place(tmp_path))
    assert (path.read_text(), path.stat().st_mode & 0o777) == (xen_block.SCRIPT, 0o700)
    before = path.stat().st_ino
    assert (Path(xen_block.place(tmp_path)), path.stat().st_ino) == (path, before)
    path.write_text("#!/bin/sh\nexit 1\n")
    assert Path(xen_block.place(tmp_path)).read_text() == xen_block.SCRIPT


@pytest.mark.parametrize("name", ["with,comma", "with space", "with'quote"])
def test_where_its_path_could_not_be_told_xens_own_script_takes_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert xen_block.place(tmp_path / name) == ""


def test_where_no_program_may_run_xens_own_script_takes_over(tmp_path: Path) -> None:
    lines = ["import sys", "from pathlib import Path", "from flyinglow.nodectl.hypervisor import xen_block"]
    lines += ["print([xen_block.place(Path(one)) for one in sys.argv[1:]])"]
    for name in ("plain", "forbidden"):
        (tmp_path / name).mkdir()
    mount = f"mount -t tmpfs -o noexec tmpfs {tmp_path}/forbidden"
    argv = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", "; ".join(lines)]
    argv += [str(tmp_path / "plain"), str(tmp_path / "forbidden")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str([str(tmp_path / "plain/xen-block"), ""])

"""libvirt under test: its Python module for the interpreter that runs the tests, and daemons of one's own.

Debian's module is for Debian's Python, and any other of the same version can load it. A private daemon has its paths
mounted over in a mount namespace of its own; its network namespace is the one it is started in.
"""

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rigs.waiting import eventually

PACKAGES = Path("/usr/lib/python3/dist-packages")
KEPT = Path(tempfile.gettempdir()) / f"flyinglow-libvirt-{os.geteuid()}"  # what libvirtd found out about QEMU: 8 s
QEMU_CONF = """security_driver="none"
user="{user}"
group="{group}"
remember_owner=0
namespaces=[]
cgroup_controllers=[]
stdio_handler="file"
"""
# libvirt's QEMUs are nobody's children; where process 1 collects the dead lazily, "destroy" waits for it
COLLECTOR = """import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = subprocess.Popen(sys.argv[1:])
while True:
    pid, status = os.wait()
    if pid == child.pid:
        sys.exit(os.waitstatus_to_exitcode(status) & 127)
"""


def module() -> Any:
    """Return libvirt's module, loaded for this interpreter; skip the test where there is none for it."""
    if importlib.util.find_spec("libvirt") is None:
        native = PACKAGES / f"libvirtmod.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so"
        if not native.exists():
            pytest.skip("no Python module of libvirt for this Python")
        _load("libvirtmod", native)
        _load("libvirt", PACKAGES / "libvirt.py")
    return importlib.import_module("libvirt")


def _load(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)


@contextlib.contextmanager
def pretended() -> Iterator[str]:
    """libvirt's own test driver, whose domains are there as long as somebody is connected."""
    kept = module().open("test:///default")
    try:
        yield "test:///default"
        assert [found.name() for found in kept.listAllDomains()] == ["test"]
    finally:
        kept.close()


@dataclass(frozen=True)
class Daemon:
    """A private libvirtd."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"

    def domains(self) -> list[str]:
        """Return the names of all its domains."""
        link = module().open(self.uri)
        try:
            return [found.name() for found in link.listAllDomains()]
        finally:
            link.close()


@contextlib.contextmanager
def daemon(folder: Path, inside: Sequence[str] = (), user: str = "root", group: str = "root") -> Iterator[Daemon]:
    """Run a libvirtd in ``folder``, whose path is short; ``inside`` are the words that enter a network namespace."""
    program = shutil.which("libvirtd") or "/usr/sbin/libvirtd"
    if os.geteuid() != 0 or not Path(program).exists():
        pytest.skip("a private libvirtd needs root, and libvirtd")
    _prepare(folder, QEMU_CONF.format(user=user, group=group))
    mounts = [("run", "/run/libvirt"), ("lib", "/var/lib/libvirt"), ("cache", "/var/cache/libvirt")]
    mounts += [("etc", "/etc/libvirt"), ("log", "/var/log/libvirt")]
    lines = [f'mkdir -p {place}; mount --bind "{folder}/{name}" {place}' for name, place in mounts]
    words = [sys.executable, "-c", COLLECTOR, program, "-p", str(folder / "pid")]
    script = "; ".join(["mount --make-rprivate /", *lines, 'exec "$@"'])
    with (folder / "stderr").open("wb") as complaints:
        child = subprocess.Popen(
            [*inside, "unshare", "-m", "bash", "-ec", script, "bash", *words],
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        )
    made = Daemon(folder, child)
    try:
        eventually((folder / "run/libvirt-sock").exists, 60)
        yield made
        _keep_cache(folder)
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), 15)
        child.wait(60)


def _prepare(folder: Path, qemu_conf: str) -> None:
    for name in ("run", "lib", "etc", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "cache").mkdir()
    with _one_at_a_time():
        if (KEPT / "cache").is_dir():
            shutil.copytree(KEPT / "cache", folder / "cache", dirs_exist_ok=True)
    (folder / "etc/qemu.conf").write_text(qemu_conf)
    (folder / "etc/libvirtd.conf").write_text('auth_unix_rw="none"\nauth_unix_ro="none"\n')


def _keep_cache(folder: Path) -> None:
    with _one_at_a_time():
        shutil.rmtree(KEPT / "cache", ignore_errors=True)
        shutil.copytree(folder / "cache", KEPT / "cache")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    KEPT.mkdir(mode=0o700, exist_ok=True)
    assert KEPT.stat().st_uid == os.geteuid()
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

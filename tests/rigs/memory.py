"""Memories of nodes under test: every driver with something real, or something that behaves like it, behind it."""

import contextlib
import os
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyinglow.nodectl.memory.accounted import Accounted
from flyinglow.nodectl.memory.api import NodeMemory, Reading, machine_mb
from flyinglow.nodectl.memory.cgroup import Cgroup
from flyinglow.nodectl.memory.hugepages import POOL, HugePages
from flyinglow.nodectl.memory.simulated import SimulatedMemory
from flyinglow.nodectl.memory.xen import Xen

MIB = 1 << 20
GROUPS = Path("/sys/fs/cgroup/memory")
HOG = "import sys, time; x = b'x' * (int(sys.argv[1]) << 20); print(len(x), flush=True); time.sleep(300)"

# Behaves as measured in a domain 0: a target is accepted at once and reached later; below 160 MiB it is accepted and
# never reached; below 110 it is refused with status 1.
XL = """#!/bin/sh
S={folder}
case "$1" in
mem-set)
    [ "$3" -ge 110 ] || { echo "libxl: error: memory target too low" >&2; exit 1; }
    echo "$3" > $S/target; echo 2 > $S/looks;;
list)
    n=$(cat $S/looks); t=$(cat $S/target); [ "$t" -ge 166 ] || t=166
    if [ "$n" -gt 0 ]; then echo $((n-1)) > $S/looks; else echo "$t" > $S/own; fi
    printf 'Name                                        ID   Mem VCPUs\\tState\\tTime(s)\\n'
    printf 'Domain-0                                     0  %4d     1     r-----      12.3\\n' "$(cat $S/own)";;
*) exit 2;;
esac
"""


def scripted_xl(folder: Path, own_mb: int) -> Path:
    """Write a program that answers like Xen's ``xl``, and return its path."""
    folder.mkdir(exist_ok=True)
    for name, value in (("own", own_mb), ("target", own_mb), ("looks", 0)):
        (folder / name).write_text(f"{value}\n")
    path = folder / "xl"
    path.write_text(XL.replace("{folder}", str(folder)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@contextlib.contextmanager
def jobs_group() -> Iterator[Path]:
    """A control group of the kernel's own (version 1) with nothing in it; removed with what runs in it."""
    if not os.access(GROUPS, os.W_OK) or not (GROUPS / "memory.limit_in_bytes").exists():
        pytest.skip("no memory control groups of version 1 that this user may make")
    path = GROUPS / f"fl-test-{secrets.token_hex(4)}"
    path.mkdir()
    try:
        yield path
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        deadline = time.monotonic() + 120
        while True:
            try:
                path.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)


@contextlib.contextmanager
def hog(group: Path, size_mb: int) -> Iterator[subprocess.Popen[str]]:
    """A process of this group that has so much memory and does not let it go."""
    child = subprocess.Popen(
        ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"', sys.executable, "-c", HOG, str(size_mb)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.communicate()


@dataclass(frozen=True)
class MemorySubject:
    """One driver, what another process would make of the same memory, and how finely its figures go."""

    name: str
    again: Callable[[], NodeMemory]
    grain_mb: int = 1
    step_mb: int = 64

    def until(self, wanted: Callable[[Reading], bool], seconds: float = 120) -> Reading:
        deadline = time.monotonic() + seconds
        while not wanted(reading := self.again().read()):
            assert time.monotonic() < deadline, reading
            time.sleep(0.01)
        return reading


@contextlib.contextmanager
def _second_version(folder: Path) -> Iterator[MemorySubject]:
    folder.mkdir()
    for name, text in (("memory.max", "max"), ("memory.current", "1048576"), ("memory.reclaim", "")):
        (folder / name).write_text(f"{text}\n")
    yield MemorySubject("cgroup2", lambda: Cgroup(folder, 2000))


@contextlib.contextmanager
def _huge_pages() -> Iterator[MemorySubject]:
    if not os.access(POOL, os.W_OK):
        pytest.skip("huge pages need root")
    before = POOL.read_text()
    try:
        yield MemorySubject("hugepages", HugePages, grain_mb=2, step_mb=4)
    finally:
        POOL.write_text(before)


@pytest.fixture(params=["accounted", "simulated", "cgroup1", "cgroup2", "xen", "hugepages"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemorySubject]:
    name: str = request.param
    with contextlib.ExitStack() as stack:
        if name == "accounted":
            yield MemorySubject(name, lambda: Accounted(tmp_path / "m.json", 2000))
        elif name == "simulated":
            yield MemorySubject(name, lambda: SimulatedMemory(tmp_path / "m.json", 2000, {"settle": 0.05}))
        elif name == "cgroup1":
            group = stack.enter_context(jobs_group())
            yield MemorySubject(name, lambda: Cgroup(group, machine_mb()))
        elif name == "cgroup2":
            yield stack.enter_context(_second_version(tmp_path / "group"))
        elif name == "xen":
            program = scripted_xl(tmp_path / "xen", 2000)
            yield MemorySubject(name, lambda: Xen(str(program)))
        else:
            yield stack.enter_context(_huge_pages())

"""Hardware as the kernel sees it: threads on the CPUs they were given, guests in huge pages, jobs and their VMs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from flyinglow.nodectl import compose, config, emergency, processes
from flyinglow.nodectl.errors import ExhaustedError
from flyinglow.nodectl.hypervisor.hardware import given_to
from flyinglow.nodectl.memory.hugepages import POOL
from flyinglow.nodectl.messages import VmStatus
from flyinglow.nodectl.node import Node
from rigs.memory import jobs_group
from rigs.waiting import eventually

CPUS = sorted(os.sched_getaffinity(0))
SPEC: dict[str, Any] = {"memory_mb": 32, "disks": [], "nics": []}
Build = Callable[..., Node]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        yield {"state": str(tmp_path / "state"), "run": f"{run}/run", "node": "n1"}


@pytest.fixture
def build(settings: dict[str, Any]) -> Iterator[Build]:
    yield lambda **more: compose.node_of(config.build({**settings, **more}))
    assert emergency.kill_all(config.build(settings))["failed"] == []


def _spec(tag: str, cpus: int = 1, **hardware: Any) -> dict[str, Any]:
    return {**SPEC, "tag": tag, "name": tag, "cpus": cpus, "hardware": hardware}


def _threads(pid: int) -> dict[str, set[frozenset[int]]]:
    """Return the CPUs that QEMU's threads may run on, by the threads' names."""
    found: dict[str, set[frozenset[int]]] = {}
    for entry in Path(f"/proc/{pid}/task").iterdir():
        name = (entry / "comm").read_text().strip()
        found.setdefault(name, set()).add(frozenset(os.sched_getaffinity(int(entry.name))))
    return found


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU cannot be shared out")
def test_each_processor_has_a_cpu_of_its_own_and_others_keep_off(build: Build) -> None:
    node = build(dedicated_cpus=CPUS[1:2])
    node.create("a1", _spec("a1", dedicated_cpus=True))
    node.create("b1", _spec("b1"))
    with pytest.raises(ExhaustedError, match="has 0 CPUs left to dedicate"):
        node.create("c1", _spec("c1", dedicated_cpus=True))
    assert not node.state.vm("c1").exists()
    for tag, expected in (("a1", {CPUS[1]}), ("b1", set(CPUS) - {CPUS[1]})):
        pid = node.start(tag, paused=True).pid
        assert pid is not None
        masks = set.union(*_threads(pid).values())
        assert masks == {frozenset(expected)}
    node.destroy("a1")
    node.create("c1", _spec("c1", dedicated_cpus=True))
    assert given_to(node.state.vm("c1")).cpus == (CPUS[1],)


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU cannot be shared out")
def test_two_processors_are_on_two_cpus(build: Build) -> None:
    node = build(dedicated_cpus=CPUS[:2])
    node.create("a1", _spec("a1", 2, dedicated_cpus=True))
    pid = node.start("a1", paused=True).pid
    assert pid is not None
    processors = [mask for name, masks in _threads(pid).items() if name.startswith("CPU ") for mask in masks]
    alone = {mask for masks in _threads(pid).values() for mask in masks if len(mask) == 1}
    assert alone == {frozenset({CPUS[0]}), frozenset({CPUS[1]})}, (processors, _threads(pid))
    given = json.loads((node.state.vm("a1").path / "hardware.json").read_text())
    assert given["cpus"] == CPUS[:2]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    """A pool of huge pages of the kernel's own, and where it is mounted."""
    if not os.access(POOL, os.W_OK):
        pytest.skip("huge pages need root")
    before = POOL.read_text()
    mount = tmp_path / "huge"
    mount.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "none", str(mount)], check=True)
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        found = {words[0].rstrip(":"): int(words[1]) for words in lines}
        used = found["HugePages_Total"] - found["HugePages_Free"] + found["HugePages_Rsvd"]  # by whoever likes them
        POOL.write_text(str(used + 24))
        yield mount
    finally:
        POOL.write_text(before)
        subprocess.run(["umount", str(mount)], check=True)


def _huge_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "Hugetlb" in line) >> 10


@pytest.mark.root
@pytest.mark.alone  # whoever else starts meanwhile may take pages, too
def test_a_guests_memory_is_in_huge_pages_of_one_numa_node(pool: Path, build: Build) -> None:
    node = build(hugepages=str(pool))
    node.create("a1", _spec("a1", huge_pages=True, numa_node=0))
    node.create("b1", _spec("b1", numa_node=0))
    for tag, size in (("a1", 32), ("b1", 0)):
        pid = node.start(tag, paused=True).pid
        assert pid is not None
        assert _huge_mb(pid) == size
        assert "bind:0" in Path(f"/proc/{pid}/numa_maps").read_text()
    node.create("c1", _spec("c1", huge_pages=True))  # there are so many pages, and another has them
    with pytest.raises(ExhaustedError, match="too little memory"):
        node.start("c1", paused=True)
    node.destroy("a1")
    assert node.start("c1", paused=True).status is VmStatus.PAUSED


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        text = Path(f"/proc/{pid}/stat").read_text()
        pid = int(text[text.rindex(")") + 2 :].split()[1])
        found.append(pid)
    return found


class Job:
    """A job as a batch system runs one: a control group, and an agent in it."""

    def __init__(self, group: Path, settings: dict[str, Any], folder: Path) -> None:
        self._group = group
        file = folder / "nodectl.json"
        file.write_text(json.dumps(settings))
        words = [sys.executable, "-m", "flyinglow.nodectl", "--config", str(file), "agent", "--stdio"]
        enter = f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"'
        self.agent = subprocess.Popen(["sh", "-c", enter, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def order(self, name: str, tag: str, body: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        assert self.agent.stdin is not None
        assert self.agent.stdout is not None
        line = json.dumps({"v": 1, "id": 1, "order": name, "tag": tag, "body": dict(body)})
        self.agent.stdin.write(line.encode() + b"\n")
        self.agent.stdin.flush()
        for answer in map(json.loads, self.agent.stdout):
            if answer.get("id") == 1:
                assert answer["ok"], answer
                found: dict[str, Any] = answer["body"]
                return found
        raise AssertionError

    def members(self) -> set[int]:
        return {int(word) for word in (self._group / "cgroup.procs").read_text().split()}

    def kill(self) -> None:
        """End all that is in the job's control group, as a batch system does in the end."""
        for pid in self.members():
            os.kill(pid, signal.SIGKILL)
        self.agent.communicate(timeout=60)


@pytest.mark.root
@pytest.mark.parametrize("placement", ["inside", "outside"])
def test_a_vm_is_in_its_jobs_process_tree_or_out_of_it(
    build: Build, settings: dict[str, Any], tmp_path: Path, placement: str
) -> None:
    with jobs_group() as jobs, jobs_group() as vms:
        more = {"placement": placement, "vm_cgroup": str(vms) if placement == "outside" else ""}
        job = Job(jobs, {**settings, **more}, tmp_path)
        job.order("create", "a1", _spec("a1"))
        pid = job.order("start", "a1", {"paused": True})["pid"]
        inside = placement == "inside"
        assert (job.agent.pid in _ancestors(pid)) is inside
        assert (pid in job.members()) is inside
        assert os.getsid(pid) == pid or not inside
        assert os.getpgid(pid) != os.getpgid(job.agent.pid)
        mark = processes.mark(pid)
        job.kill()
        node = build()
        if inside:
            eventually(lambda: not processes.alive(mark), 60)
            assert node.info("a1").status is VmStatus.BROKEN
            assert node.start("a1", paused=True).status is VmStatus.PAUSED
        else:
            assert processes.alive(mark)
            assert node.info("a1").pid == pid
        node.destroy("a1")


@pytest.mark.root
def test_a_vm_inside_of_a_job_that_ends_leaves_nobody_to_be_collected(
    settings: dict[str, Any], build: Build, tmp_path: Path
) -> None:
    with jobs_group() as jobs:
        job = Job(jobs, {**settings, "placement": "inside"}, tmp_path)
        job.order("create", "a1", _spec("a1"))
        pid = job.order("start", "a1", {"paused": True})["pid"]
        job.order("destroy", "a1")
        eventually(lambda: not Path(f"/proc/{pid}").exists(), 60)
        job.kill()
    assert build().list() == []

"""Slots with real guests: signals to a whole job, memory of a real control group, and the node cleaned up at once."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import processes
from rigs.guest import IMAGES, Guest
from rigs.memory import hog, jobs_group
from rigs.namespaces import Space
from rigs.node_agent import AgentProcess

pytestmark = pytest.mark.root
ROOM: dict[str, Any] = {"slot": "k3.0", "memory_mb": 4 * (96 + 96), "cpus": 4}


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    if os.geteuid() != 0:
        pytest.skip("bridges and control groups need root")
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        Path(run).chmod(0o755)  # as /run is: dnsmasq reads below it and is not root

        def write(**settings: Any) -> Path:
            path = tmp_path / "nodectl.json"
            plain = {"state": str(tmp_path / "state"), "run": f"{run}/run", "images": [str(IMAGES)], "bridges": ["pub"]}
            path.write_text(json.dumps({**plain, "memory_mb": 2000, "cpus": 4, "watch_seconds": 0.1, **settings}))
            return path

        yield write


def nic(number: int) -> dict[str, Any]:
    return {
        "network": "n",
        "mac": f"02:00:0a:4d:00:{number:02x}",
        "ip": f"10.77.0.{number}",
        "prefix": 24,
        "bridge": "pub",
        "hostname": f"wn{number}",
    }


def command(prefix: list[str], config: Path, *words: str) -> dict[str, Any]:
    argv = [*prefix, sys.executable, "-m", "flyinglow.nodectl", "--config", str(config), "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def descendants(root: int) -> list[int]:
    """Return a process and all that descend from it, as a batch system that follows parents finds them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def test_a_signal_to_the_whole_job_ends_no_guest(
    guest_image: Guest, new_space: Callable[[str], Space], configure: Callable[..., Path]
) -> None:
    """Descendants, group and session all get it, again and again; only what the agent is told ends a guest."""
    space = new_space("slot")
    space.bridge("pub", "10.77.0.1/24")
    config = configure()
    with AgentProcess(config, space.argv()) as agent:
        agent.order("reserve", **ROOM)
        agent.order("create", "a1", **guest_image.spec("a1", nics=[nic(11)]))
        pid = agent.order("start", "a1")["pid"]
        mark = processes.mark(pid)
        assert mark is not None
        assert pid not in descendants(agent.process.pid)
        assert os.getsid(pid) != os.getsid(agent.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            for victim in descendants(agent.process.pid):
                os.kill(victim, number)
            os.killpg(agent.process.pid, number)
        agent.news("a1", ready=True)
        assert processes.alive(mark)
        space.run("ping", "-c", "1", "-w", "120", "10.77.0.11")
        assert agent.order("release", slot="k3.0")["destroyed"] == ["a1"]
        assert not processes.alive(mark)
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []


def test_the_group_of_jobs_shrinks_by_a_slot_and_gets_all_back_without_a_release(
    guest_image: Guest, configure: Callable[..., Path]
) -> None:
    with jobs_group() as jobs, jobs_group() as vms:
        limit = jobs / "memory.limit_in_bytes"
        limit.write_text(f"{1500 * (1 << 20) + 4096}\n")
        before = limit.read_text()
        config = configure(memory="cgroup", memory_cgroup=str(jobs), vm_cgroup=str(vms))
        with AgentProcess(config) as agent:
            info = agent.order("reserve", slot="k3.0", memory_mb=500, cpus=1)
            assert (info["base_mb"], info["actual_mb"]) == (1500, 1000)
            assert limit.read_text() == f"{1000 << 20}\n"
            agent.order("create", "a1", **guest_image.spec("a1"))
            pid = agent.order("start", "a1")["pid"]
            assert str(pid) in (vms / "cgroup.procs").read_text().split()
        assert limit.read_text() == before
        assert not Path(f"/proc/{pid}/cwd").exists()
        with hog(jobs, 300), AgentProcess(config) as agent:
            error = agent.answer(agent.send("reserve", slot="k3.0", memory_mb=1240, cpus=1))["error"]
            assert error["kind"] == "exhausted"
            assert limit.read_text() == before


@pytest.mark.parametrize("how", ["end of input", "release", "kill"])
def test_four_guests_go_with_their_slot(
    guest_image: Guest, new_space: Callable[[str], Space], configure: Callable[..., Path], how: str
) -> None:
    space = new_space("slot")
    space.bridge("pub", "10.77.0.1/24")
    config = configure(memory="simulated")
    agent = AgentProcess(config, space.argv())
    agent.order("reserve", **ROOM)
    tags = [f"a{n}" for n in range(1, 5)]
    numbers = [agent.send("create", tag, **guest_image.spec(tag, nics=[nic(10 + n)])) for n, tag in enumerate(tags)]
    numbers += [agent.send("start", tag) for tag in tags]
    assert [agent.answer(number)["ok"] for number in numbers] == [True] * 8
    guests = [processes.mark(agent.order("info", tag)["pid"]) for tag in tags]
    assert command(space.argv(), config, "status")["memory"]["actual_mb"] == 2000 - ROOM["memory_mb"]
    begin = time.monotonic()
    if how == "release":
        assert sorted(agent.order("release", slot="k3.0")["destroyed"]) == tags
    elif how == "kill":
        agent.kill()
        assert all(processes.alive(guest) for guest in guests)
        begin = time.monotonic()
        answer = command(space.argv(), config, "kill-all")
        assert (answer["destroyed"], answer["failed"], answer["slots"]) == (tags, [], ["k3.0"])
    agent.close()
    sys.stdout.write(f"{how} with four guests: {time.monotonic() - begin:.2f} s\n")
    assert not any(processes.alive(guest) for guest in guests)
    found = command(space.argv(), config, "status")
    assert (found["slots"], found["vms"], found["memory"]["actual_mb"]) == ([], [], 2000)
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []
    assert not (config.parent / "state/slots.json").exists()


def test_kill_all_ends_guests_that_do_not_answer(guest_image: Guest, configure: Callable[..., Path]) -> None:
    config = configure()
    agent = AgentProcess(config)
    agent.order("reserve", **ROOM)
    agent.order("create", "a1", **guest_image.spec("a1"))
    guest = agent.order("start", "a1")["pid"]
    os.kill(guest, signal.SIGSTOP)
    agent.send("shutdown", "a1", seconds=60)
    os.kill(agent.process.pid, signal.SIGSTOP)
    answer = command([], config, "kill-all")
    assert (answer["destroyed"], answer["failed"]) == (["a1"], [])
    assert processes.mark(guest) is None
    agent.close()


@pytest.mark.alone  # with the machine's one pool of huge pages
def test_a_guest_lives_on_the_huge_pages_of_its_slot(
    guest_image: Guest, configure: Callable[..., Path], tmp_path: Path
) -> None:
    pool = Path("/proc/sys/vm/nr_hugepages")
    if not os.access(pool, os.W_OK):
        pytest.skip("no huge pages")
    before = pool.read_text()
    folder = tmp_path / "huge"
    folder.mkdir()
    config = configure(memory="hugepages", hugepages=str(folder))
    space = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    space += ['mount -t hugetlbfs none "$0" && exec "$@"', str(folder)]
    try:
        with AgentProcess(config, space) as agent:
            info = agent.order("reserve", slot="k3.0", memory_mb=192, cpus=1)
            assert int(pool.read_text()) == int(before) + 96
            assert info["base_mb"] - info["actual_mb"] in {192, 193}
            agent.order("create", "a1", **guest_image.spec("a1"))
            pid = agent.order("start", "a1")["pid"]
            mapped = Path(f"/proc/{pid}/smaps_rollup").read_text()
            huge = next(line for line in mapped.splitlines() if line.startswith("Private_Hugetlb"))
            assert int(huge.split()[1]) == 96 << 10
            agent.news("a1", ready=True)
        assert pool.read_text() == before
    finally:
        pool.write_text(before)

"""The private Slurm itself: closed off from the machine, and gone with the process that made it, however that ends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.cli.demo.slurm_world import BRIDGES, SlurmWorld
from flyinglow.nodectl.errors import BrokenError
from rigs.slurm import missing, slurm_world
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("slurm")]
LISTEN = "import socket; s=socket.create_server((\"{0}\", 7000)); print('ready', flush=True); s.accept()"
CONNECT = 'import socket; socket.create_connection(("{0}", 7000), 10)'

HOLD = """
import sys
from pathlib import Path
from flyinglow.cli.demo.slurm_world import SlurmWorld
with SlurmWorld(Path(sys.argv[1]), nodes=2) as world:
    world.run_in_head(["sbatch", "-N2", "-o/dev/null", "-D/"], user="lease", text="#!/bin/sh\\nsrun sleep 99")
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def world() -> Iterator[SlurmWorld]:
    """Two nodes."""
    with slurm_world(nodes=2) as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that everybody can reach."""
    if reason := missing():
        pytest.skip(reason)
    made = Path(tempfile.mkdtemp(prefix="fl-slurm-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def processes(directory: Path) -> list[int]:
    """Return the numbers of all processes that have to do with a private Slurm."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in told and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("nested", [False, True], ids=["on the machine", "within a demo's own namespaces"])
def test_all_of_it_ends_with_its_maker(directory: Path, nested: bool) -> None:
    """Even when that one is killed: no process and no mount is left, and no file of the machine has changed."""
    before = _machine(directory)
    outer = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"] if nested else []
    argv = [*outer, sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "up\n"
        assert len(processes(directory)) > 5
        maker.send_signal(signal.SIGKILL)
    eventually(lambda: not processes(directory))
    eventually(lambda: _machine(directory) == before)


def _machine(directory: Path) -> tuple[list[str], list[str]]:
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(directory) in line]
    return mounts, [Path("/etc", name).read_text() for name in ("passwd", "shadow", "hosts", "sudoers")]


def test_nodes_have_their_own_names_networks_and_directories(world: SlurmWorld) -> None:
    """And the machine has none of their users."""
    for node in world.names:
        (world.etc(node) / "nodectl.json").write_text(node)
        said = world.run_on(node, ["sh", "-c", "hostname; cat /etc/flyinglow/nodectl.json; ip -brief link"]).stdout
        assert said.startswith(f"{node}\n{node}")
        assert all(f"br-{network}" in said for network in BRIDGES)
    world.run_on("node1", ["touch", "/run/mine", "/var/lib/flyinglow-node/mine"])
    assert (world.state("node1") / "mine").exists()
    assert world.run_on("node2", ["ls", "/run/mine"], check=False).returncode
    assert "lease" not in Path("/etc/passwd").read_text()
    assert not Path("/etc/flyinglow").exists() or not Path("/etc/flyinglow/nodectl.json").exists()


@pytest.mark.parametrize("address", ["10.77.0.12", f"{BRIDGES['public']}.3", f"{BRIDGES['private']}.3"])
def test_nodes_and_guests_bridges_reach_each_other(world: SlurmWorld, address: str) -> None:
    """Over the cluster's network and over each network that guests are on."""
    with world.node("node2").spawn(
        [sys.executable, "-c", LISTEN.format(address)], stdout=subprocess.PIPE, text=True
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        world.run_on("node1", [sys.executable, "-c", CONNECT.format(address)])


def test_a_signal_reaches_the_program_itself(world: SlurmWorld) -> None:
    """Not the one that led it there."""
    with world.spawn_in_head(
        ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"], stdout=-1
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"up\n"
        one.terminate()
        assert one.wait(120) == 7


def test_a_crash_leaves_the_disk_and_nothing_else(world: SlurmWorld) -> None:
    """The node comes back with another boot id, as a real one does."""
    world.run_on("node2", ["touch", "/run/gone", "/var/lib/flyinglow-node/kept"])
    before = world.run_on("node2", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    orphan = world.node("node2").spawn(["sh", "-c", "setsid sleep 1000 & echo up"], stdout=-1)
    assert orphan.stdout is not None
    assert orphan.stdout.readline() == b"up\n"
    world.crash("node2")
    orphan.stdout.close()
    orphan.wait(120)
    with pytest.raises(BrokenError):
        world.run_on("node2", ["true"])
    world.boot("node2")
    assert world.run_on("node2", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before
    assert world.run_on("node2", ["ls", "/var/lib/flyinglow-node/kept"]).returncode == 0
    assert world.run_on("node2", ["ls", "/run/gone"], check=False).returncode
    assert "sleep 1000" not in world.run_on("node2", ["ps", "ax"]).stdout
    world.wait_idle()
    assert world.run_in_head(["srun", "-N2", "hostname"], user="lease").stdout.split() in (
        ["node1", "node2"],
        ["node2", "node1"],
    )

"""The private Grid Engine itself: closed off from the machine, and gone with the process that made it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flyinglow.cli.demo.gridengine_packages import unpacked
from flyinglow.nodectl.errors import BrokenError
from rigs.gridengine import gridengine_world, missing, packages
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("gridengine")]

HOLD = """
import sys
from pathlib import Path
from flyinglow.cli.demo.gridengine_world import GridEngineWorld
with GridEngineWorld(Path(sys.argv[1]), nodes=1, packages=Path(sys.argv[2])):
    print("up", flush=True)
    sys.stdin.read()
"""


def _of(directory: Path) -> list[int]:
    """Return the processes that were told of this world."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"SGE_ROOT={directory}/".encode() in told:
            found.append(int(entry.name))
    return found


def test_nothing_of_the_machine_changes_and_nodes_are_closed_off() -> None:
    """Users, names, addresses and files of the world are seen inside only; each node has its own."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    with gridengine_world(nodes=2) as world:
        directory = world.directory
        assert world.node_states() == {"node1": "", "node2": ""}
        assert [world.run_on(node, ["hostname"]).stdout.strip() for node in world.names] == ["node1", "node2"]
        world.run_on("node1", ["ping", "-c1", "-w120", "10.73.0.3"])
        world.run_on("node1", ["touch", "/etc/flyinglow/mark", "/run/mark", "/var/lib/flyinglow-node/mark"])
        for path in ("/etc/flyinglow/mark", "/run/mark", "/var/lib/flyinglow-node/mark"):
            assert world.run_on("node2", ["test", "-e", path], check=False).returncode == 1
            assert not Path(path).exists()
        assert world.run_on("node2", ["id", "-u"], user="lease").stdout.strip() == "64901"
        assert "lease" not in Path("/etc/passwd").read_text()
    assert subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout == links
    assert not directory.exists()
    assert not _of(directory)


def test_it_ends_with_the_process_that_made_it() -> None:
    """Also by SIGKILL, which lets nobody tidy up."""
    if reason := missing():
        pytest.skip(reason)
    directory = Path(tempfile.mkdtemp(prefix="fl-ge-"))
    directory.chmod(0o755)
    words = [sys.executable, "-c", HOLD, str(directory), str(packages())]
    try:
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "up\n"
            assert _of(directory)
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait(120)
            eventually(lambda: not _of(directory))
    finally:
        shutil.rmtree(directory)


def test_packages_that_are_not_there_are_named(tmp_path: Path) -> None:
    """And what was begun is begun anew the next time."""
    for _ in range(2):
        with pytest.raises(BrokenError, match="gridengine-common"):
            unpacked(tmp_path / "unpacked", debs=tmp_path)

"""``flyinglow demo --lrm`` on each private batch scheduler, as an administrator runs it before a site's own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs import gridengine, slurm
from rigs.daemon import environment

pytestmark = [pytest.mark.alone, pytest.mark.root]
SECONDS = 600
DEMO = [sys.executable, "-m", "flyinglow.cli", "demo", "--lrm"]
MISSING = {"slurm": slurm.missing, "gridengine": gridengine.missing}
NOTICES = {"slurm": "SIGTERM on node", "gridengine": "SIGUSR2 on node"}


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory whose path is short enough for a TMPDIR: nodes keep unix sockets in it."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def start(lrm: str, place: Path) -> subprocess.Popen[str]:
    """Start the demo, or skip where its scheduler cannot run."""
    if reason := MISSING[lrm]():
        pytest.skip(reason)
    env = {**environment(), "HOME": str(place), "TMPDIR": str(place), "COLUMNS": "200"}
    return subprocess.Popen([*DEMO, lrm], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd="/")


@pytest.mark.parametrize("lrm", ["slurm", "gridengine"])
def test_a_cluster_is_leased_from_a_scheduler_and_pre_empted(place: Path, lrm: str) -> None:
    with start(lrm, place) as demo:
        try:
            text, _ = demo.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            demo.send_signal(signal.SIGINT)
            pytest.fail(f"no end within {SECONDS} s: {demo.communicate()[0][-3000:]}")
    assert demo.returncode == 0, text[-3000:]
    assert NOTICES[lrm] in text
    assert text.splitlines()[-2:] == [
        "Nothing is left: no job, no process, no tap, no directory, no row that is not ended.",
        "demo: ok",
    ]
    check_gone(place)


@pytest.mark.parametrize("lrm", ["slurm", pytest.param("gridengine", marks=pytest.mark.full)])
def test_a_demo_that_is_interrupted_leaves_nothing_running(place: Path, lrm: str) -> None:
    with start(lrm, place) as demo:
        assert demo.stdout is not None
        heard = []
        for line in demo.stdout:
            heard.append(line)
            if "Ready" in line:  # a pilot holds its node
                break
        assert ours(place), "".join(heard)
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(120) != 0, rest
    check_gone(place)


def check_gone(place: Path) -> None:
    """Nothing runs, is mounted or lies there any more."""
    assert ours(place) == []
    assert str(place) not in Path("/proc/self/mountinfo").read_text()
    assert list(place.glob("flyinglow-demo-*")) == []


def ours(place: Path) -> list[str]:
    """Return the command lines of processes that work below this directory, or in its clusters."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if f"{place}/flyinglow-demo-".encode() in words and int(entry.name) != os.getpid():
                found.append(words.decode(errors="replace"))
    return found

"""``flyinglow demo`` in each of its forms, as a newcomer runs it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.daemon import environment
from rigs.unprivileged import USER, wrapped

pytestmark = pytest.mark.alone
SECONDS = 600
DEMO = [sys.executable, "-m", "flyinglow.cli", "demo"]
EVENT = re.compile(r"^ +\d+\.\d\d s +(workspace|group|ensemble) +(\S+) +#(\d+) +(.*)$", re.MULTILINE)
MEMBERS = ("ce", "se", "wn-1", "wn-2")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a directory whose path is short enough for a TMPDIR: nodes keep unix sockets in it."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as name:
        yield Path(name)


def play(argv: list[str], home: Path) -> str:
    """Run a demo and return all that it printed; it must have ended well."""
    env = {**environment(), "HOME": str(home), "TMPDIR": "/tmp", "COLUMNS": "200"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False, env=env, cwd="/")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def machine() -> tuple[str, str]:
    """Return the machine's own links and mounts, which a demo must not change."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    return links, Path("/proc/self/mountinfo").read_text()


def check_events(text: str) -> None:
    """Every resource's notifications are there, from the first to the last, without a gap."""
    heard: dict[str, list[int]] = {}
    for _, name, number, _ in EVENT.findall(text):
        heard.setdefault(name, []).append(int(number))
    assert set(heard) == {"osg", "wn", *MEMBERS}
    for name, numbers in heard.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), name
        assert f" {name} " in text
    assert len(re.findall(r"termination", text)) == len(heard)


def check_receipt(text: str, *, ready: bool) -> None:
    """Every member has every stamp."""
    rows = [
        [cell.strip() for cell in line.strip("│| ").split("│")]
        for line in text[text.index("Timing receipt") :].splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows[:7]] == ["accepted", "placed", "image", "network", "started", "ready", "notified"]
    assert all(len(row) == 1 + len(MEMBERS) for row in rows[:7])
    assert not any("-" in row for row in rows[:7] if ready or row[0] != "ready"), rows


def test_as_root_the_cluster_of_the_paper_comes_up_connected_and_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root; the other forms of the demo are tested without it")
    before = machine()
    text = play(DEMO, tmp_path)
    assert machine() == before
    check_events(text)
    check_receipt(text, ready=True)
    assert text.count("GUEST-PEER") >= 12
    assert "failed" not in text
    for fact in (
        "GUEST-HOSTNAME public-20",
        "GUEST-IP eth1 10.73.0.2",
        "role compute-element",
        "member se storage-element",
    ):
        assert fact in text
    assert text.splitlines()[-2:] == [
        "Nothing is left: no process, no tap, no directory, no row that is not ended.",
        "demo: ok",
    ]


def test_without_root_each_guest_has_its_leased_address_and_host_name(tmp_path: Path) -> None:
    argv = _as_nobody(tmp_path)
    text = play(argv, tmp_path)
    assert "guests cannot reach each other" in text.splitlines()[0]
    check_events(text)
    check_receipt(text, ready=True)
    assert "GUEST-PEER" not in text
    assert text.count("GUEST-HOSTNAME") == len(MEMBERS)
    assert text.splitlines()[-1] == "demo: ok"


def test_without_qemu_no_guest_line_is_invented(tmp_path: Path) -> None:
    text = play([*DEMO, "--simulated"], tmp_path)
    check_events(text)
    assert "GUEST" not in text
    assert "No guest lines: the hypervisor is simulated." in text
    assert text.splitlines()[-1] == "demo: ok (simulated)"


def test_root_that_may_not_make_namespaces_still_sees_the_demo(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be a root without rights")
    less = ["setpriv", "--bounding-set", "-sys_admin,-net_admin", "--inh-caps", "-sys_admin,-net_admin"]
    text = play(wrapped([*less, *DEMO, "--simulated"], tmp_path), tmp_path)
    assert text.splitlines()[-1] == "demo: ok (simulated)"


@pytest.mark.parametrize(
    ("number", "privileged"),
    [
        (signal.SIGINT, True),
        (signal.SIGTERM, False),
        (signal.SIGHUP, False),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.full),
        pytest.param(signal.SIGHUP, True, marks=pytest.mark.full),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.full),
    ],
)
def test_a_demo_that_is_interrupted_leaves_nothing_running(
    short_path: Path, number: signal.Signals, *, privileged: bool
) -> None:
    tmp_path = short_path
    argv = DEMO if privileged else _as_nobody(tmp_path)
    if privileged and os.geteuid() != 0:
        pytest.skip("the form with namespaces needs root")
    env = {**environment(), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o1777)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env, cwd="/") as demo:
        assert demo.stdout is not None
        heard = []
        for line in demo.stdout:
            heard.append(line)
            if "Members" in line:  # the guests run
                break
        assert _ours(tmp_path), "".join(heard)
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(120) != 0
    assert _ours(tmp_path) == []
    assert list(tmp_path.glob("flyinglow-demo-*")) == []


def _ours(tmp_path: Path) -> list[str]:
    """Return the command lines of processes that work below this directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            if f"{tmp_path}/flyinglow-demo-" in words:
                found.append(words)
    return found


def _as_nobody(tmp_path: Path) -> list[str]:
    """Return the demo's command line for a user without rights."""
    if os.geteuid() != 0:
        return DEMO
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, _nobody(), -1)
    change = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups"]
    return wrapped([*change, "env", f"HOME={home}", *DEMO], home, tmp_path)


def _nobody() -> int:
    return pwd.getpwnam(USER).pw_uid

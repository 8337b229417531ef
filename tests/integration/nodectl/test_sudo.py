"""The node's program as one file, and what the user of batch jobs may do with it as root: two things, real sudo."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.nodectl import processes
from flyinglow.nodectl.deploy import bundle, sudoers
from flyinglow.nodectl.errors import InvalidError
from rigs.node import plain_spec
from rigs.node_agent import AgentProcess
from rigs.sudo_site import SudoSite, need_sudo

SUDO = ["sudo", "-n", "/usr/sbin/flyinglow-nodectl"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="fl") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def sudo_site(folder: Path) -> SudoSite:
    need_sudo()
    config = {"state": str(folder / "state"), "run": str(folder / "run"), "driver": "simulated", "node": "n1"}
    return SudoSite(folder, json.dumps({**config, "memory": "simulated", "memory_mb": 1000, "cpus": 4}))


def test_one_file_is_the_same_bytes_whoever_builds_it(folder: Path) -> None:
    for name in ("a", "b"):
        bundle.build(folder / name)
        os.utime(folder / name, (0, 0))
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    subprocess.run([folder / "a", "bundle", folder / "c"], check=True, capture_output=True, cwd="/")
    assert (folder / "a").read_bytes() == (folder / "c").read_bytes()
    other = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    argv = [sys.executable, "-m", "flyinglow.nodectl", "bundle", str(folder / "d")]
    subprocess.run(argv, check=True, capture_output=True, env=other, umask=0o77)
    assert (folder / "a").read_bytes() == (folder / "d").read_bytes()
    for place in (Path.home(), Path(bundle.__file__).resolve().parents[1]):  # nothing of the machine that built it
        assert bytes(place) + b"/" not in (folder / "a").read_bytes()
    assert (folder / "d").stat().st_mode & 0o777 == 0o755
    with pytest.raises(InvalidError):
        bundle.build(folder / "no/such/place")


def test_one_file_runs_on_the_systems_python_and_on_the_oldest(folder: Path) -> None:
    out = folder / "flyinglow-nodectl"
    bundle.build(out)
    oldest = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python3.9"))
    for prefix in ([], *([str(path), "-IS"] for path in oldest[:1])):
        words = [*prefix, str(out), "--driver", "simulated", "--state", str(folder / "state"), "--json"]
        given = json.dumps(plain_spec("a1"))
        harmless = {"PATH": os.environ["PATH"], "PYTHONPATH": "/nonsense", "PYTHONHOME": "/nonsense"}
        for more in (["create"], ["list"], ["status"], ["kill-all"]):
            done = subprocess.run(
                [*words, *more], input=given, capture_output=True, text=True, check=True, env=harmless, cwd="/"
            )
            assert json.loads(done.stdout)


def test_the_lines_for_sudo_are_understood(folder: Path) -> None:
    visudo = shutil.which("visudo", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if visudo is None:
        pytest.skip("no visudo")
    file = folder / "flyinglow"
    file.write_text(sudoers.text("fljob", "/opt/fl/sbin/flyinglow-nodectl"))
    file.chmod(0o440)
    done = subprocess.run([visudo, "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = [line.split("NOPASSWD:")[1].strip() for line in file.read_text().splitlines() if "NOPASSWD" in line]
    assert commands == ["/opt/fl/sbin/flyinglow-nodectl agent --stdio", "/opt/fl/sbin/flyinglow-nodectl kill-all"]
    assert not set(file.read_text()) & set("*?[]")


@pytest.mark.parametrize("user", ["", "ALL", "%wheel", "a b", "a\nroot ALL=(ALL) ALL", "#0", "a,b", "-x"])
def test_who_is_no_user_is_refused(user: str) -> None:
    with pytest.raises(InvalidError):
        sudoers.text(user)


@pytest.mark.parametrize("path", ["", "nodectl", "/a b", "/a/*", "/a/../b", "/a\nb", "/a,/bin/sh", "/a:", "/", "/a/"])
def test_what_is_no_plain_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidError):
        sudoers.text("fljob", path)


@pytest.mark.root
def test_a_job_takes_a_slot_and_cleans_up_through_sudo(sudo_site: SudoSite) -> None:
    with AgentProcess(Path(), argv=sudo_site.argv(*SUDO, "agent", "--stdio")) as agent:
        assert agent.order("reserve", slot="k3.0", memory_mb=300, cpus=1)["actual_mb"] == 700
        agent.order("create", "a1", **plain_spec("a1"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.killpg(agent.process.pid, number)
        assert agent.order("info", "a1")["status"] == "created"
    done = sudo_site.run(*SUDO, "kill-all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "destroyed 0\n", "")


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
def test_an_agent_whose_sudo_dies_gives_all_back_at_the_end_of_its_input(
    sudo_site: SudoSite, folder: Path, number: signal.Signals
) -> None:
    with AgentProcess(Path(), argv=sudo_site.argv(*SUDO, "agent", "--stdio")) as agent:
        agent.order("reserve", slot="k3.0", memory_mb=300, cpus=1)
        holder = json.loads((folder / "state/slots.json").read_text())["slots"][0]["holder"]["pid"]
        assert holder != agent.process.pid
        os.kill(agent.process.pid, number)
        agent.process.wait(120)
        assert agent.order("list") == {"vms": []}
        mark = processes.mark(holder)
        assert mark is not None
    assert processes.gone(mark, 120)
    assert not (folder / "state/slots.json").exists()


@pytest.mark.root
def test_kill_all_through_sudo_takes_the_slot_from_another_job(sudo_site: SudoSite, folder: Path) -> None:
    with AgentProcess(Path(), argv=sudo_site.argv(*SUDO, "agent", "--stdio")) as agent:
        agent.order("reserve", slot="k3.0", memory_mb=300, cpus=1)
        agent.order("create", "a1", **plain_spec("a1"))
        done = sudo_site.run(*SUDO, "kill-all")
        assert (done.returncode, done.stdout) == (0, "destroyed 1: a1\n")
        assert agent.process.wait(120) != 0
    assert not (folder / "state/slots.json").exists()


@pytest.mark.root
@pytest.mark.parametrize(
    "words",
    [
        ["agent", "--stdio", "--state", "/tmp/x"],
        ["--state", "/tmp/x", "agent", "--stdio"],
        ["--config", "/tmp/evil.json", "kill-all"],
        ["agent"],
        [],
        ["agent", "--stdio", ""],
        ["kill-all", "--json"],
        ["bundle", "/etc/shadow"],
        ["sudoers", "fljob"],
        ["tidy"],
        ["destroy", "a1"],
    ],
)
def test_no_other_argument_is_let_through(sudo_site: SudoSite, words: list[str]) -> None:
    done = sudo_site.run(*SUDO, *words)
    assert done.returncode == 1
    assert "a password is required" in done.stderr
    assert done.stdout == ""


@pytest.mark.root
def test_no_environment_of_the_jobs_reaches_root(sudo_site: SudoSite, folder: Path) -> None:
    evil = folder / "evil"
    evil.mkdir()
    (evil / "json.py").write_text("raise SystemExit('captured')\n")
    done = sudo_site.run("env", f"PYTHONPATH={evil}", f"PYTHONSTARTUP={evil}/json.py", *SUDO, "kill-all")
    assert (done.returncode, done.stderr) == (0, "")
    refused = sudo_site.run("sudo", "-n", f"PYTHONPATH={evil}", *SUDO[2:], "kill-all")
    assert refused.returncode == 1
    assert "not allowed to set" in refused.stderr

"""Every command in a ``console`` block works as it stands, page by page and in order, on a running service."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flyinglow.cli.commands.daemon import SYSTEM
from rigs.daemon import Daemon, environment
from rigs.lrm_service import slurm_service
from rigs.unprivileged import wrapped

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEFAULT = "http://127.0.0.1:8480"
GUIDE = ROOT / "docs" / "users" / "client-guide.md"
CLUSTER = ROOT / "docs" / "administration" / "lrm.md"
OF_THEIR_OWN = (CLUSTER, ROOT / "docs" / "administration" / "first-site.md")  # which begin without a service
SECONDS = 300


class Reader(NamedTuple):
    """Somebody who follows a page: a service, a directory to work in, a home of his own."""

    daemon: Daemon
    here: Path

    @property
    def surroundings(self) -> dict[str, str]:
        return {
            **environment(),
            "HOME": str(self.here),
            "FLYINGLOW_SERVICE": self.daemon.url,
            "CONFIG": str(self.daemon.config),
            "STATE": str(self.daemon.state),
        }

    def write(self, text: str) -> None:
        """Keep a block that begins with a comment naming a file."""
        if name := re.match(r"# ([\w-]+\.toml)\n", text):
            (self.here / name[1]).write_text(text)

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of a page."""
        return subprocess.run(
            ["sh", "-c", command], env=self.surroundings, cwd=self.here, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


def pages() -> Iterator[Path]:
    """Give every page that has commands to run on a site with nodes of its own."""
    for page in (ROOT / "README.md", *ROOT.glob("docs/users/*.md"), *ROOT.glob("docs/administration/*.md")):
        if page not in OF_THEIR_OWN and any(language == "console" for language, _ in FENCE.findall(page.read_text())):
            yield page


@pytest.fixture
def reader(daemon: Daemon, tmp_path: Path) -> Reader:
    """Give a reader whose own configuration is the service's, as pages say that it is found."""
    if SYSTEM.exists():
        pytest.skip(f"{SYSTEM} of this machine would be taken for the reader's")
    own = tmp_path / ".config" / "flyinglow"
    own.mkdir(parents=True)
    (own / "flyinglow.toml").write_text(daemon.config.read_text())
    return Reader(daemon, tmp_path)


def follow(reader: Reader, text: str) -> list[str]:
    """Do what a page says; return its commands. Fails at the first that does not end with 0."""
    typed = []
    for language, block in FENCE.findall(text):
        if language == "toml":
            reader.write(block)
        for line in block.splitlines() if language == "console" else ():
            command = line.removeprefix("$ ")
            done = reader.type(command)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{reader.daemon.tail()}"
            typed.append(command)
    return typed


@pytest.mark.root
def test_commands_of_the_page_about_schedulers_work_on_a_real_one() -> None:
    """As an administrator on the head; the doctor comes first, before the service is started, as the page has it."""
    commands = [line for language, block in FENCE.findall(CLUSTER.read_text()) if language == "console"
                for line in block.splitlines()]  # fmt: skip
    assert len(commands) > 5
    with slurm_service(nodes=1, start=False) as service:
        world: Any = service.world
        config = str(service.lrm_site.config)
        env = {"CONFIG": config, "HOME": str(service.lrm_site.root), "PATH": environment()["PATH"]}
        env |= {"FLYINGLOW_SERVICE": DEFAULT}
        for command in commands:
            if "create" in command:
                service.start()
            argv = wrapped(["sh", "-c", command.removeprefix("$ ")], service.lrm_site.root)
            done = world.run_in_head(argv, env=env, check=False, seconds=SECONDS)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{service.log}"
        service.wait(lambda: not service.admin("workspace.list"), "the end of the lease")
        service.stop()


@pytest.mark.parametrize("page", sorted(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_work(reader: Reader, page: Path) -> None:
    assert follow(reader, page.read_text())
    reader.daemon.check_messages()


def test_a_command_that_does_not_work_is_found(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="no-such-lease"):
        follow(reader, "```console\n$ flyinglow offers\n$ flyinglow show no-such-lease\n```")


def test_pages_with_commands_are_those_that_should_have_some() -> None:
    named = {str(page.relative_to(ROOT / "docs")) for page in pages() if page.parent != ROOT}
    assert named >= {
        "users/quick-start.md",
        "users/cli.md",
        "administration/install.md",
        "administration/operation.md",
    }


def test_python_of_the_client_guide_works(reader: Reader) -> None:
    text = "\n".join(block for language, block in FENCE.findall(GUIDE.read_text()) if language == "python")
    assert DEFAULT in text
    program = reader.here / "guide.py"
    program.write_text(text.replace(DEFAULT, reader.daemon.url))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], env=reader.surroundings, cwd=reader.here,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reader.daemon.check_messages()


def test_a_backup_taken_as_the_page_says_is_whole(reader: Reader) -> None:
    """The copy serves: a service on it knows the lease."""
    text = (ROOT / "docs" / "administration" / "operation.md").read_text()
    (command,) = re.findall(r"^\$ (python3 .*backup.*)$", text, re.MULTILINE)
    create = "flyinglow create --image guest --memory 96 --network private --name kept --duration 1h"
    for line in (create, command):
        done = reader.type(line)
        assert done.returncode == 0, done.stderr
    reader.daemon.stop()
    for name in ("flyinglow.sqlite-wal", "flyinglow.sqlite-shm"):
        (reader.daemon.state / name).unlink(missing_ok=True)
    database = reader.daemon.state / "flyinglow.sqlite"
    database.write_bytes((reader.here / "backup.sqlite").read_bytes())
    reader.daemon.start()
    assert "Running" in reader.type("flyinglow show kept").stdout

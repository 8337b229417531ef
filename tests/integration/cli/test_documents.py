"""Every command and every line of Python that the users' documents show does what they say, in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flyinglow.cli.exits import TABLE
from rigs.daemon import Daemon

DOCUMENTS = Path(__file__).resolve().parents[3] / "docs" / "users"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEFAULT = "http://127.0.0.1:8480"


def blocks(name: str, *languages: str) -> list[tuple[str, str]]:
    """Return a document's blocks in these languages, in order."""
    return [found for found in BLOCK.findall((DOCUMENTS / name).read_text()) if found[0] in languages]


def environment(daemon: Daemon, home: Path) -> dict[str, str]:
    """Return an environment with nothing of the user's own in it."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        "PATH": programs,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "FLYINGLOW_SERVICE": daemon.url,
        "CONFIG": str(daemon.config),
    }


@pytest.mark.parametrize("name", ["quick-start.md", "cli.md"])
def test_commands(daemon: Daemon, tmp_path: Path, name: str) -> None:
    ran = 0
    for language, block in blocks(name, "console", "toml"):
        if language == "toml":
            (tmp_path / block.split()[1]).write_text(block)
            continue
        for line in block.splitlines():
            assert line.startswith("$ "), f"a console block shows commands: {line}"
            done = subprocess.run(
                ["sh", "-c", line.removeprefix("$ ")],
                env=environment(daemon, tmp_path),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}\n{daemon.tail()}"
            ran += 1
    assert ran >= 5


def test_python(daemon: Daemon) -> None:
    program = "".join(block for _, block in blocks("client-guide.md", "python"))
    assert DEFAULT in program
    exec(compile(program.replace(DEFAULT, daemon.url), "client-guide.md", "exec"), {})


def test_exit_codes_are_those_of_the_code() -> None:
    text = (DOCUMENTS / "cli.md").read_text()
    begin, end = "<!-- exit codes: begin -->\n", "<!-- exit codes: end -->"
    rows = [f"| {int(each.code)} | {each.meaning} |" for each in TABLE.values()]
    assert text.partition(begin)[2].partition(end)[0] == "\n".join(["| code | meaning |", "| --- | --- |", *rows, ""])

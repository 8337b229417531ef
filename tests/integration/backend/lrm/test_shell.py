"""Commands of a scheduler carried out as real processes: their time, their output, what they see."""

import os
import shlex
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList

from flyinglow.backend.lrm.api import Adapter, Call, Output
from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import TransientError
from rigs.waiting import eventually

LONG = 200  # seconds


class Sayings:
    """An adapter whose listing is any command."""

    def __init__(self, *argv: str, stdin: bytes = b"") -> None:
        self._call: Call[Any] = Call(argv, lambda output: output, stdin)

    def list(self) -> Call[Any]:
        """Return the command."""
        return self._call


def lrm(*argv: str, stdin: bytes = b"", **options: Any) -> CommandLrm:
    """Make a scheduler of one command."""
    return CommandLrm(cast("Adapter", Sayings(*argv, stdin=stdin)), reactor, **options)


def outcome(*argv: str, stdin: bytes = b"", **options: Any) -> Output:
    """Run a command and return what it left behind."""
    return cast("Output", ReactorThread.get().run(lambda: lrm(*argv, stdin=stdin, **options).list()))


def test_a_command_sees_little() -> None:
    """The C locale, UTC, the root directory, the site's variables, and nothing of the service's own."""
    os.environ["FLYINGLOW_PRIVATE"] = "key"
    said = outcome("sh", "-c", "env; pwd", environment={"SLURM_CONF": "/etc/x"}).out.splitlines()
    del os.environ["FLYINGLOW_PRIVATE"]
    assert {"LC_ALL=C", "TZ=UTC0", "SLURM_CONF=/etc/x", "/"} <= set(said)
    assert not [line for line in said if line.startswith(("FLYINGLOW", "HOME="))]


def test_what_comes_of_it_is_told() -> None:
    """Both streams apart, the exit code, and when."""
    output = outcome("sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in \xff\n")
    assert (output.code, output.out, output.err) == (3, "in \N{REPLACEMENT CHARACTER}\n", "err\n")
    assert abs(output.at - time.time()) < 30


def test_a17_no_shell_reads_the_words() -> None:
    """They arrive as they are."""
    word = "$(id); `id` | 'x'\n#SBATCH"
    assert outcome("printf", "%s", word).out == word


def test_a_command_that_hangs_is_killed_and_holds_nothing_up(tmp_path: Path) -> None:
    """The process is gone, what it started keeps nobody waiting, and another command is answered in the meantime."""
    pids = tmp_path / "pids"
    file, stay = shlex.quote(str(pids)), f"exec sleep {LONG}"
    script = f"echo $$ >{file}; ({stay}) & echo $! >>{file}; trap '' TERM; {stay}"

    async def both() -> Sequence[Any]:
        hung = Deferred.fromCoroutine(lrm("sh", "-c", script, timeout=3).list())
        quick = Deferred.fromCoroutine(lrm("echo", "quick").list())
        return await DeferredList([hung, quick], consumeErrors=True)

    start = time.monotonic()
    (failed, why), (worked, output) = ReactorThread.get().run(both)
    assert not failed
    assert "did not answer in 3 s" in str(why.value)
    assert worked
    assert output.out == "quick\n"
    assert time.monotonic() - start < LONG / 2
    script_pid, child = map(int, pids.read_text().split())
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{script_pid}/cwd").exists())


def test_a_command_that_talks_without_end_is_killed() -> None:
    """Before it fills the service's memory."""
    with pytest.raises(TransientError, match="more than 1000 bytes"):
        outcome("yes", most_output=1000)


def test_input_that_nobody_reads_is_no_harm() -> None:
    """A submit command may refuse before it reads the script."""
    assert outcome("sh", "-c", "exec <&-; exit 4", stdin=b"x" * 1_000_000).code == 4


def test_a_command_that_is_not_there_fails() -> None:
    """And says which."""
    output = outcome("no-such-program-here")
    assert output.code != 0
    assert "no-such-program-here" in output.err

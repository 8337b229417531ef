"""Machines of a pretended cluster: each a process tree with its own network, mounts, host name and process numbers.

A space lives as long as the pipe to its first process is open, so everything in it ends when it is closed, and also
when the process that made it is killed. Needs root; nothing of the real machine is changed.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNSHARE = (
    *("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private", "--"),
)
# the first process must collect orphans, or what ended would look alive: ignoring the signal makes the kernel do so
_FIRST = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            break
    except ChildProcessError:
        break
os.write(1, b"up\\n")
os.close(1)
sys.stdin.buffer.read()
"""
_STAY = f"\nexec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(_FIRST)}\n"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Inside(subprocess.Popen[Any]):
    """A program in a space: signals reach the program itself, not the one that led it there."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to the program."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.inner_pid() or self.pid, sig)

    def inner_pid(self) -> int | None:
        """Return the program's process number as it is seen from here; None before it has started."""
        with suppress(OSError):
            words = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return int(words[0]) if words else None
        return None


class Space:
    """One pretended machine, made by ``script``, a shell script that runs as root inside it before anything else."""

    def __init__(self, script: str, log: Path, *, beside: Space | None = None, arguments: Sequence[str] = ()) -> None:
        """Make it; ``beside`` gives the space whose files are seen. Its output goes to ``log``."""
        self._log = log
        lead = () if beside is None else ("nsenter", f"--mount=/proc/{beside.pid}/ns/mnt", "--")
        with log.open("ab") as output:
            self._first = subprocess.Popen(
                [*lead, *_UNSHARE, "/bin/sh", "-euc", script + _STAY, "space", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd="/",
                env={"PATH": PATH, "LC_ALL": "C"},
            )

    @property
    def pid(self) -> int:
        """The process that holds the space's namespaces, seen from here."""
        return self._first.pid

    def wait_up(self, seconds: float) -> None:
        """Wait until the script has run. Raises BrokenError with what it said when it failed."""
        end = time.monotonic() + seconds
        first = self._first.stdout
        ready = first and select.select([first], [], [], max(0.0, end - time.monotonic()))[0]
        if not first or not ready or first.readline().strip() != b"up":
            said = self._log.read_text(errors="replace")[-800:]
            raise BrokenError(f"a machine of the private cluster did not start: {said}")

    def argv(self, words: Sequence[str], user: str | None = None, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the words that run a program inside, as root or as a user of the space."""
        at = f"/proc/{self.pid}/ns"
        enter = [f"--{kind}={at}/{file}" for kind, file in _KINDS]
        become = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
        assign = [f"{name}={value}" for name, value in {"PATH": PATH, "LC_ALL": "C", **(env or {})}.items()]
        # a program ends with the one that led it there
        return ["nsenter", *enter, "--", "env", "-i", *assign, "setpriv", *become, "--pdeathsig", "KILL", "--", *words]

    def run(
        self,
        words: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        text: str = "",
        seconds: float = 180,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, with ``text`` on its standard input. Raises BrokenError when it fails, if checked."""
        argv = self.argv(words, user, env)
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=seconds, check=False, cwd="/", errors="replace"
        )
        if check and done.returncode:
            raise BrokenError(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")
        return done

    def spawn(
        self, words: Sequence[str], *, user: str | None = None, env: Mapping[str, str] | None = None, **streams: Any
    ) -> Inside:
        """Start a program inside; ``streams`` are those of ``subprocess.Popen``."""
        return Inside(self.argv(words, user, env), cwd="/", **streams)

    def alive(self) -> bool:
        """Say whether the space still is."""
        return self._first.poll() is None

    def close(self) -> None:
        """End everything inside at once, as a power failure does; may be called again."""
        for stream in (self._first.stdin, self._first.stdout):
            if stream is not None:
                stream.close()
        try:
            self._first.wait(5)
        except subprocess.TimeoutExpired:
            self._first.send_signal(signal.SIGKILL)  # takes the first process inside with it
            self._first.wait()


_KINDS = (("mount", "mnt"), ("net", "net"), ("uts", "uts"), ("ipc", "ipc"), ("pid", "pid_for_children"))

"""A machine where an unprivileged user of batch jobs may do two things as root; all of it in a mount namespace.

Usage: sudo_site.py ETC SBIN -- PROGRAM ARGUMENT...: shows what is in ETC and SBIN in the place of the machine's /etc
and /usr/sbin, or beside it, then becomes the program as the user. Nothing of the machine is changed: the mounts are
this process's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flyinglow.nodectl.deploy import bundle, sudoers

USER = "fljob"
NUMBER = 64123


class SudoSite:
    """Writes what the namespace is to show, and the words that enter it."""

    def __init__(self, folder: Path, config: str) -> None:
        self._etc = folder / "etc"
        self.program = folder / "sbin/flyinglow-nodectl"
        (self._etc / "sudoers.d").mkdir(parents=True, mode=0o755)
        (self._etc / "flyinglow").mkdir(mode=0o755)
        (folder / "sbin").mkdir(mode=0o755)
        self._file("sudoers.d/flyinglow", sudoers.text(USER), 0o440)
        self._file("sudoers", "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440)
        self._file("passwd", f"{Path('/etc/passwd').read_text()}{USER}:x:{NUMBER}:{NUMBER}::/tmp:/bin/sh\n", 0o644)
        self._file("group", f"{Path('/etc/group').read_text()}{USER}:x:{NUMBER}:\n", 0o644)
        self._file("shadow", f"{Path('/etc/shadow').read_text()}{USER}:!:19000:0:99999:7:::\n", 0o640)
        self._file("flyinglow/nodectl.json", config, 0o644)
        bundle.build(self.program)

    @property
    def sudoers(self) -> Path:
        """The file that lets the user."""
        return self._etc / "sudoers.d/flyinglow"

    def argv(self, *words: str) -> list[str]:
        """Return the words that run a program as the user."""
        inside = [sys.executable, __file__, str(self._etc), str(self.program.parent), "--", *words]
        return ["unshare", "--mount", "--propagation", "private", "--", *inside]

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program as the user."""
        return subprocess.run(
            self.argv(*words), input=given, capture_output=True, text=True, timeout=180, check=False, cwd="/"
        )

    def _file(self, name: str, text: str, mode: int) -> None:
        path = self._etc / name
        path.write_text(text)
        path.chmod(mode)


def main() -> None:
    """Mount, and become the program as the user, with neither a terminal nor a group of root's."""
    cut = sys.argv.index("--")
    etc, sbin, argv = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[cut + 1 :]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"], check=True)
    _over(Path("/etc"), etc)
    _over(Path("/usr/sbin"), sbin)
    os.setgroups([])
    os.setgid(NUMBER)
    os.setuid(NUMBER)
    os.chdir("/")
    os.execvp(argv[0], argv)


def _over(target: Path, more: Path) -> None:
    """Show a directory with some entries more than it has, or others in their place."""
    upper, work = (Path("/run") / target.name / part for part in ("upper", "work"))
    work.mkdir(parents=True)
    shutil.copytree(more, upper)
    options = f"lowerdir={target},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(target)], check=True)


def need_sudo() -> None:
    """Skip where there is no sudo to be tried."""
    if os.geteuid() != 0 or shutil.which("sudo") is None or shutil.which("visudo") is None:
        pytest.skip("needs root, sudo and visudo")


if __name__ == "__main__":
    main()

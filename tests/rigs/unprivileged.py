"""Lets a test that runs as root start programs which then become an unprivileged user, wherever Python and clone lie.

Usage: unprivileged.py DIR... -- PROGRAM ARGUMENT...: in a mount namespace of its own, makes this installation and the
directories readable for everyone, then becomes the program (same process id).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flyinglow.cli.demo.exposure import code_directories, expose
from flyinglow.cli.demo.world import run

USER = "nobody"


def wrapped(argv: list[str], *directories: Path) -> list[str]:
    """Return the argument list that runs ``argv`` this way when this process is root; else ``argv`` itself."""
    if os.geteuid() != 0:
        return argv
    words = ["unshare", "--mount", "--propagation", "private", "--", sys.executable, __file__]
    return [*words, *map(str, directories), "--", *argv]


def main() -> None:
    """Expose, and become the program."""
    cut = sys.argv.index("--")
    directories, argv = [Path(word) for word in sys.argv[1:cut]], sys.argv[cut + 1 :]
    stash = Path("/run")
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(stash))
    expose([*code_directories(), *directories])
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()

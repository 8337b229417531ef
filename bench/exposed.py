"""Lets measurements that run as root start the service, which becomes an unprivileged user, wherever the clone lies.

    exposed.py DIRECTORY... -- PROGRAM ARGUMENT...

In a mount namespace of its own this makes the installation and the directories reachable for everyone, then becomes
the program (same process id).
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
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    expose([*code_directories(), *directories])
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()

"""Makes an installation readable for the unprivileged user that the daemon becomes, without changing the machine."""

from __future__ import annotations

import grp
import pwd
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import flyinglow
from flyinglow.cli.demo.world import run
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def expose(paths: Iterable[Path]) -> None:
    """Let every user reach these directories, in this mount namespace only.

    A project cloned into root's home cannot be read by the unprivileged user the daemon becomes. Each closed ancestor
    is covered by an empty directory that is open, into which only the needed directories are bound, at the same place.
    """
    stash = Path("/run/demo-stash")
    by_closed: dict[Path, list[Path]] = {}
    for path in sorted({path.resolve() for path in paths}):
        if (closed := _closed_ancestor(path)) is not None:
            by_closed.setdefault(closed, []).append(path)
    for number, (closed, needed) in enumerate(by_closed.items()):
        held = stash / str(number)
        held.mkdir(parents=True, mode=0o700)
        run("mount", "--rbind", str(closed), str(held))
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(closed))
        for path in _outermost(needed):
            path.mkdir(parents=True, exist_ok=True)
            run("mount", "--rbind", str(held / path.relative_to(closed)), str(path))


def _closed_ancestor(path: Path) -> Path | None:
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            return ancestor
    return None


def _outermost(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if not any(other != path and path.is_relative_to(other) for other in paths)]


def code_directories() -> list[Path]:
    """Return the directories a Python process of this installation reads its code from."""
    package = Path(flyinglow.__file__).resolve().parent
    linked = [entry.resolve() for entry in package.iterdir() if entry.is_dir()]
    roots = [Path(sys.prefix), Path(sys.base_prefix), package, *linked, *map(Path, sys.path)]
    return [root for root in roots if root.is_dir()]


def check_readable(user: str) -> None:
    """Make sure that ``user`` can run this installation. Raises BrokenError saying what to do."""
    argv = ["setpriv", "--reuid", user, "--regid", user_group(user), "--clear-groups"]
    probe = subprocess.run(
        [*argv, sys.executable, "-c", "import flyinglow.server.daemon"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if probe.returncode:
        message = (
            f"the unprivileged user {user} cannot run {sys.executable} or read this installation; "
            f"make both readable (chmod -R go+rX). It said: {probe.stderr.strip()[-300:]}"
        )
        raise BrokenError(message)


def user_group(user: str) -> str:
    """Return the name of a user's own group."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name

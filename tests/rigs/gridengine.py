"""A real Grid Engine for tests: private, several nodes, gone with the test: ``with gridengine_world(nodes=4) as w``."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.api import SiteTerms
from flyinglow.cli.demo.gridengine_conf import PARALLEL_ENVIRONMENT, QUEUE
from flyinglow.cli.demo.gridengine_packages import unpacked
from flyinglow.cli.demo.gridengine_world import GridEngineWorld
from flyinglow.nodectl.errors import BrokenError

PROGRAMS = ("apt-get", "dpkg-deb", "ldd", "sudo", "unshare", "nsenter", "setpriv", "ip")
_PACKAGES = Path(tempfile.gettempdir()) / f"flyinglow-gridengine-{os.geteuid()}"


def missing() -> str | None:
    """Say why no private Grid Engine can run here, or return None."""
    if os.geteuid() != 0:
        return "a private Grid Engine needs root"
    if gone := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"not installed: {', '.join(gone)}"
    try:
        unpacked(packages(), _debs())
    except BrokenError as error:
        return f"no Grid Engine: {error}"
    return None


@contextlib.contextmanager
def gridengine_world(nodes: int = 4, *, sudoers: Sequence[str] = (), **options: Any) -> Iterator[GridEngineWorld]:
    """Run a private Grid Engine in a directory of its own that every user can reach; skips where it cannot run."""
    if reason := missing():
        pytest.skip(reason)
    directory = Path(tempfile.mkdtemp(prefix="fl-ge-"))
    directory.chmod(0o755)
    try:
        with GridEngineWorld(directory, nodes=nodes, sudoers=sudoers, packages=packages(), **options) as world:
            yield world
    finally:
        shutil.rmtree(directory)


def terms(world: GridEngineWorld, user: str = "lease", **changes: Any) -> SiteTerms:
    """Return what a site's configuration would say, for a user of this world, from outside of it."""
    values = {
        "queue": QUEUE,
        "parallel_environment": PARALLEL_ENVIRONMENT,
        "directory": str(world.jobs),
        "commands": world.commands(user),
        **changes,
    }
    return SiteTerms(**values)


def packages() -> Path:
    """Return where the unpacked programs are kept for the next test."""
    # kept between runs, so that a test does not fetch them anew; a directory of somebody else's is not believed
    if _PACKAGES.exists() and (_PACKAGES.stat().st_uid != os.geteuid() or _PACKAGES.is_symlink()):
        raise BrokenError(f"{_PACKAGES} belongs to somebody else")
    _PACKAGES.mkdir(mode=0o755, exist_ok=True)
    return _PACKAGES


def _debs() -> Path | None:
    given = os.environ.get("FLYINGLOW_GRIDENGINE_DEBS")
    return Path(given) if given else None

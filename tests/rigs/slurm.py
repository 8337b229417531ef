"""A real Slurm for tests: private, several nodes, gone with the test. ``with slurm_world(nodes=4) as world: ...``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.api import SiteTerms
from flyinglow.cli.demo.slurm_world import SlurmWorld

PROGRAMS = ("slurmctld", "slurmd", "munged", "sudo", "unshare", "nsenter", "setpriv", "ip")


def missing() -> str | None:
    """Say why no private Slurm can run here, or return None."""
    if os.geteuid() != 0:
        return "a private Slurm needs root"
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(gone)}" if gone else None


@contextlib.contextmanager
def slurm_world(nodes: int = 4, *, sudoers: Sequence[str] = (), **options: Any) -> Iterator[SlurmWorld]:
    """Run a private Slurm in a directory of its own that every user can reach; skips the test where it cannot run."""
    if reason := missing():
        pytest.skip(reason)
    directory = Path(tempfile.mkdtemp(prefix="fl-slurm-"))
    directory.chmod(0o755)
    try:
        with contextlib.ExitStack() as held:
            if options.get("proctrack") == "cgroup":
                held.enter_context(groups())
            yield held.enter_context(SlurmWorld(directory, nodes=nodes, sudoers=sudoers, **options))
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def groups() -> Iterator[None]:
    """Have the machine's control groups for one Slurm: those of another one's nodes would have the same names."""
    top = os.open("/sys/fs/cgroup", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(top, fcntl.LOCK_EX)
        yield
    finally:
        os.close(top)


def terms(world: SlurmWorld, user: str = "lease", **changes: Any) -> SiteTerms:
    """Return what a site's configuration would say, for a user of this world, from outside of it."""
    values = {"directory": str(world.jobs), "commands": world.commands(user), **changes}
    return SiteTerms(**values)

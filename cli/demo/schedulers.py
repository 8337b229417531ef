"""The batch schedulers that the demo can lease from: how each is started, asked, made busy and told to cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.cli.demo import gridengine_conf
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.gridengine_packages import unpacked
from flyinglow.cli.demo.gridengine_world import GridEngineWorld
from flyinglow.cli.demo.kinds import missing
from flyinglow.cli.demo.slurm_world import SlurmWorld
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flyinglow.cli.demo.lrm_site import World

NODES = 4
GRACE = 20
"""Seconds from the scheduler's notice to its SIGKILL, as the demo's sites have configured them."""

_SECONDS_BUSY = 6
_PACKAGES = Path("/var/cache/flyinglow/gridengine")
_NEEDED = ("unshare", "nsenter", "setpriv", "ip", "sudo", "dnsmasq", "qemu-system-x86_64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """One kind. ``make(directory, sudoers)`` gives its private cluster; words run on its head as ``root``."""

    name: str
    make: Callable[[Path, Sequence[str]], Any]
    address: str  # of the head, as nodes see it
    needed: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    queue: tuple[str, ...]  # shows all jobs
    busy: tuple[str, ...]  # a job of somebody else on all nodes; its script is on standard input
    cancel: str  # followed by a job's number
    fetch: Callable[[], object] = lambda: None  # what has to be done while there is a network

    def prepare(self, directory: Path, sudoers: Sequence[str]) -> World:
        """Return the cluster, not started yet. Raises InvalidError naming what is not installed."""
        if lacking := missing((*_NEEDED, *self.needed)):
            raise InvalidError(
                f"{', '.join(lacking)} not installed; tools/system-packages.sh demo-{self.name} brings what is needed"
            )
        world: World = self.make(directory, sudoers)
        return world

    @property
    def busy_script(self) -> str:
        """The other user's job."""
        return f"#!/bin/sh\nsleep {_SECONDS_BUSY}\n"


def _slurm(directory: Path, sudoers: Sequence[str]) -> SlurmWorld:
    return SlurmWorld(directory, nodes=NODES, kill_wait=GRACE, sudoers=sudoers)


SLURM = Scheduler(
    name="slurm",
    make=_slurm,
    address=HEAD_ADDRESS,
    needed=("slurmctld", "slurmd", "munged", "sbatch"),
    options={"lrm": "slurm"},
    queue=("squeue", "-o", "%.10i %.14j %.8u %.10T %.6D %R"),
    busy=("sbatch", "--parsable", f"-N{NODES}", "--output=/dev/null", "--chdir=/", "--job-name=somebody-elses"),
    cancel="scancel",
)


def _gridengine(directory: Path, sudoers: Sequence[str]) -> GridEngineWorld:
    return GridEngineWorld(directory, nodes=NODES, notify=GRACE, sudoers=sudoers, packages=_PACKAGES)


def _unpack() -> None:
    _PACKAGES.mkdir(parents=True, exist_ok=True)
    unpacked(_PACKAGES, None)


GRIDENGINE = Scheduler(
    name="gridengine",
    make=_gridengine,
    address=HEAD_ADDRESS,
    needed=("apt-get", "dpkg-deb"),
    options={"lrm": "gridengine", "parallel_environment": gridengine_conf.PARALLEL_ENVIRONMENT},
    queue=("qstat", "-u", "*"),
    busy=(
        *("qsub", "-terse", "-pe", gridengine_conf.PARALLEL_ENVIRONMENT, str(NODES)),
        *("-cwd", "-o", "/dev/null", "-j", "y", "-N", "somebody"),
    ),
    cancel="qdel",
    fetch=_unpack,
)

SCHEDULERS: Mapping[str, Scheduler] = {one.name: one for one in (SLURM, GRIDENGINE)}

"""A private Slurm of N nodes for the demo and the tests: real munged, slurmctld and slurmd, each node in its own space.

See ``cluster`` for the machines. Needs root, and Slurm, munge, sudo and iproute2 installed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flyinglow.cli.demo import slurm_conf
from flyinglow.cli.demo.cluster import TURN, USERS, Cluster
from flyinglow.cli.demo.furnishing import BRIDGES
from flyinglow.cli.demo.spaces import Space
from flyinglow.nodectl.errors import BrokenError

_END = 90.0


class SlurmWorld(Cluster):
    """The cluster with Slurm."""

    TITLE = "Slurm"
    COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
    PARTS = ("state", "spool", "run", "munge")
    # --force: the directory may lie below a world-writable one
    HEAD = """
munged --force --key-file="$root/munge/key" --socket="$root/munge/sock" --pid-file="$root/munge/pid" \\
    --log-file="$root/munge/log" --seed-file="$root/munge/seed" >&2
"""
    NODE = """
export SLURM_CONF="$root/slurm.conf"
slurmd -N "$name" >&2
"""

    def __init__(
        self,
        directory: Path,
        *,
        networks: Sequence[str] = ("public", "private"),
        sudoers: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Prepare; ``options`` are those of ``slurm_conf.SlurmOptions``."""
        self.options = slurm_conf.SlurmOptions(**options)
        super().__init__(directory, self.options.names, networks, sudoers)

    @property
    def environment(self) -> dict[str, str]:
        """What every Slurm command inside needs."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

    def down(self) -> None:
        """End everything; may be called again."""
        super().down()
        if self.options.proctrack == "cgroup":
            self._remove_groups()

    def node_states(self) -> dict[str, str]:
        """Return Slurm's word for every node; none while the controller does not answer."""
        done = self.run_in_head(["sinfo", "-h", "-N", "-p", "batch", "-o", "%N %T"], check=False)
        return dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)  # noqa: PLR2004

    def is_ready(self, state: str) -> bool:
        """Tell whether a node of which Slurm says this can take jobs."""
        return state == "idle"

    def program(self, name: str) -> str:
        """Return the path of one of Slurm's commands."""
        return f"/usr/bin/{name}"

    def boot(self, node: str, seconds: float = 180) -> None:
        """Start a node that crashed; its disk is as it was, its /run is empty."""
        self._furnish_node(node)
        self._nodes[node].wait_up(seconds)

    def stop_slurmd(self, node: str) -> None:
        """End the slurmd of a node; its jobs run on."""
        self._end(self.node(node), self.directory / "run" / f"slurmd.{node}.pid")

    def start_slurmd(self, node: str) -> None:
        """Start the slurmd of a node again."""
        self.run_on(node, ["slurmd", "-N", node])

    def stop_controller(self) -> None:
        """End the controller; jobs run on."""
        self._end(self.head, self.directory / "state/slurmctld.pid")

    def start_controller(self) -> None:
        """Start the controller again, with what it knew."""
        self._control()

    def _start(self, seconds: float) -> None:
        user = self.options.slurm_user
        self.run_in_head(["chown", user, str(self.directory / "state")])
        self._control("-c")
        for name in self.names:
            self._furnish_node(name)
        for space in self._nodes.values():
            space.wait_up(seconds)

    def _control(self, *options: str) -> None:
        user = None if self.options.slurm_user == "root" else self.options.slurm_user
        self.run_in_head(["slurmctld", *options], user=user)

    def _end(self, space: Space, pid_file: Path) -> None:
        pid, end = pid_file.read_text().strip(), time.monotonic() + _END
        space.run(["kill", pid])
        while not space.run(["kill", "-0", pid], check=False).returncode:
            if time.monotonic() > end:
                raise BrokenError(f"{pid_file.name}: the process does not end")
            time.sleep(TURN)

    def _lay_out(self) -> None:
        super()._lay_out()
        root = self.directory
        for name in self.names:
            (root / "spool" / name).mkdir(mode=0o755, exist_ok=True)
        key = root / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        (root / "slurm.conf").write_text(slurm_conf.slurm_conf(self.options, root))
        (root / "cgroup.conf").write_text(slurm_conf.cgroup_conf("/sys/fs/cgroup"))

    def _remove_groups(self) -> None:
        for name in self.names:
            for top in Path("/sys/fs/cgroup").glob(f"*/slurm_{name}"):
                for group in sorted(top.glob("**/"), reverse=True):
                    with suppress(OSError):  # another private Slurm has jobs in it
                        group.rmdir()


__all__ = ["BRIDGES", "USERS", "SlurmWorld"]

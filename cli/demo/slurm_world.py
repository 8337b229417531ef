"""A private Slurm of N nodes for the demo and the tests: real munged, slurmctld and slurmd, each node in its own space.

The head (host name ``head``, 10.77.0.1) runs the controller; ``node1`` to ``nodeN`` each run a slurmd, and have a
/run, /etc/flyinglow and /var/lib/flyinglow-node of their own. Job users exist in these spaces only. Everything ends
with the object, or with the process that made it. Needs root, and Slurm, munge, sudo and iproute2 installed.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.cli.demo import slurm_conf
from flyinglow.cli.demo.slurm_scripts import BRIDGES, HEAD_SCRIPT, NODE_SCRIPT
from flyinglow.cli.demo.spaces import PATH, Inside, Space
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

USERS = {"lease": 64901, "other": 64902}
"""Users that exist in the private cluster only: ours, and another one whose jobs are none of our business."""

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
_USER_LINES = {"passwd": "{0}:x:{1}:{1}::/:/bin/sh\n", "group": "{0}:x:{1}:\n", "shadow": "{0}:*:19000::::::\n"}
_SUDO = "Defaults env_reset, !use_pty, !syslog\nroot ALL=(ALL:ALL) ALL\n"


class SlurmWorld:
    """The cluster. ``sudoers`` are further lines of every node's sudoers file, ``sbin`` its /usr/local/sbin."""

    def __init__(
        self,
        directory: Path,
        *,
        networks: Sequence[str] = ("public", "private"),
        sudoers: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Prepare; ``options`` are those of ``slurm_conf.SlurmOptions``. ``directory`` must be reachable for all."""
        self.directory = directory.resolve()
        self.options = slurm_conf.SlurmOptions(**options)
        self.sbin = self.directory / "sbin"
        self.jobs = self.directory / "jobs"  # where any user may write
        self._networks = tuple(networks)
        self._sudoers = tuple(sudoers)
        self._head: Space | None = None
        self._nodes: dict[str, Space] = {}

    def __enter__(self) -> Self:
        """Start it."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.down()

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return self.options.names

    @property
    def environment(self) -> dict[str, str]:
        """What every Slurm command inside needs."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

    def etc(self, node: str) -> Path:
        """Return a node's own /etc/flyinglow."""
        return self.directory / "nodes" / node / "etc"

    def state(self, node: str) -> Path:
        """Return a node's own /var/lib/flyinglow-node."""
        return self.directory / "nodes" / node / "lib"

    def up(self, seconds: float = 60) -> None:
        """Start everything and wait until all nodes are idle. Raises BrokenError with what the logs say."""
        self._lay_out()
        try:
            arguments = [str(self.directory), self.options.slurm_user, *self._networks]
            self._head = Space(HEAD_SCRIPT, self.directory / "log/head.log", arguments=arguments)
            self._head.wait_up(seconds)
            for name in self.names:
                self._start_node(name)
            for space in self._nodes.values():
                space.wait_up(seconds)
            self.wait_idle(seconds)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End everything; may be called again."""
        for space in self._nodes.values():
            space.close()
        self._nodes.clear()
        if self._head is not None:
            self._head.close()
            self._head = None
        if self.options.proctrack == "cgroup":
            self._remove_groups()

    def wait_idle(self, seconds: float = 60, nodes: Sequence[str] | None = None) -> None:
        """Wait until these nodes, or all, can take jobs. Raises BrokenError."""
        wanted, end = set(nodes or self.names), time.monotonic() + seconds
        while time.monotonic() < end:
            if wanted <= {name for name, state in self.node_states().items() if state == "idle"}:
                return
            time.sleep(0.05)
        raise BrokenError(f"the private Slurm is not ready: {self.node_states()}")

    def node_states(self) -> dict[str, str]:
        """Return Slurm's word for every node; none while the controller does not answer."""
        done = self.run_in_head(["sinfo", "-h", "-N", "-p", "batch", "-o", "%N %T"], check=False)
        return dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)  # noqa: PLR2004

    @property
    def head(self) -> Space:
        """The machine of the controller, where the service runs as well."""
        if self._head is None:
            raise BrokenError("the private Slurm is not running")
        return self._head

    def node(self, name: str) -> Space:
        """Return a node. Raises BrokenError when it is down."""
        if name not in self._nodes:
            raise BrokenError(f"{name} is not running")
        return self._nodes[name]

    def run_in_head(
        self, argv: Sequence[str], user: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the head, by default as root; see ``Space.run``."""
        env = {**self.environment, **options.pop("env", {})}
        return self.head.run(argv, user=user, env=env, **options)

    def run_on(
        self, node: str, argv: Sequence[str], user: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a node; see ``Space.run``."""
        env = {**self.environment, **options.pop("env", {})}
        return self.node(node).run(argv, user=user, env=env, **options)

    def spawn_in_head(self, argv: Sequence[str], user: str | None = None, **options: Any) -> Inside:
        """Start a program on the head; see ``Space.spawn``."""
        env = {**self.environment, **options.pop("env", {})}
        return self.head.spawn(argv, user=user, env=env, **options)

    def commands(self, user: str = "lease") -> Mapping[str, str]:
        """Return programs, by name, that run Slurm's commands on the head for a user from outside of this world."""
        directory = self.directory / f"bin-{user}"
        directory.mkdir(exist_ok=True)
        for name in COMMANDS:
            argv = self.head.argv([f"/usr/bin/{name}"], user, {**self.environment, "TZ": "UTC0"})
            file = directory / name
            file.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            file.chmod(0o755)
        return {name: str(directory / name) for name in COMMANDS}

    def crash(self, node: str) -> None:
        """Take the power from a node: every process on it is gone at once."""
        self._nodes.pop(node).close()

    def boot(self, node: str, seconds: float = 60) -> None:
        """Start a node that crashed; its disk is as it was, its /run is empty."""
        self._start_node(node)
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
        user = None if self.options.slurm_user == "root" else self.options.slurm_user
        self.run_in_head(["slurmctld"], user=user)

    def _end(self, space: Space, pid_file: Path) -> None:
        pid = pid_file.read_text().strip()
        space.run(["kill", pid])
        for _ in range(400):
            if space.run(["kill", "-0", pid], check=False).returncode:
                return
            time.sleep(0.05)
        raise BrokenError(f"{pid_file.name}: the process does not end")

    def _start_node(self, name: str) -> None:
        number = self.names.index(name) + 1
        wire = f"n{number}{secrets.token_hex(3)}"  # a crashed node's interface may linger
        arguments = [str(self.directory), name, str(number), slurm_conf.address(number), wire, str(uuid.uuid4())]
        log = self.directory / "log" / f"{name}.log"
        self._nodes[name] = Space(NODE_SCRIPT, log, beside=self.head, arguments=[*arguments, *self._networks])

    def _lay_out(self) -> None:
        root = self.directory
        root.mkdir(mode=0o755, exist_ok=True)
        for part in ("state", "spool", "run", "log", "munge", "sbin", "jobs", "etc"):
            (root / part).mkdir(mode=0o755, exist_ok=True)
        self.jobs.chmod(0o1777)
        for name in self.names:
            for path in (self.etc(name), self.state(name), root / "spool" / name):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
        key = root / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        (root / "slurm.conf").write_text(slurm_conf.slurm_conf(self.options, root))
        (root / "cgroup.conf").write_text(slurm_conf.cgroup_conf("/sys/fs/cgroup"))
        (root / "etc/hosts").write_text(slurm_conf.hosts(self.options))
        for file, form in _USER_LINES.items():
            added = [form.format(user, number) for user, number in USERS.items()]
            (root / "etc" / file).write_text("".join(added))
        sudoers = root / "etc/sudoers"
        sudoers.touch(mode=0o440)
        sudoers.write_text(f'{_SUDO}Defaults secure_path="{PATH}"\n' + "".join(f"{line}\n" for line in self._sudoers))

    def _remove_groups(self) -> None:
        for name in self.names:
            for top in Path("/sys/fs/cgroup").glob(f"*/slurm_{name}"):
                for group in sorted(top.glob("**/"), reverse=True):
                    with suppress(OSError):  # another private Slurm has jobs in it
                        group.rmdir()


__all__ = ["BRIDGES", "COMMANDS", "USERS", "SlurmWorld"]

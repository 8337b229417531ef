"""A private Grid Engine of N nodes for the demo and the tests: a real qmaster and execds, each node a space of its own.

The head (host name ``head``, 10.77.0.1) runs the qmaster; ``node1`` to ``nodeN`` each run an execd, and have a /run,
/etc/flyinglow and /var/lib/flyinglow-node of their own. Job users exist in these spaces only. Nothing is installed:
Grid Engine's packages are unpacked. Everything ends with the object, or with the process that made it. Needs root.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.cli.demo import gridengine_conf
from flyinglow.cli.demo.gridengine_cell import Cell
from flyinglow.cli.demo.gridengine_packages import ARCHITECTURE, unpacked
from flyinglow.cli.demo.gridengine_scripts import HEAD_SCRIPT, NODE_SCRIPT
from flyinglow.cli.demo.spaces import PATH, Inside, Space
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

USERS = {"lease": 64901, "other": 64902}
"""Users that exist in the private cluster only: ours, and another one whose jobs are none of our business."""

COMMANDS = ("qsub", "qstat", "qdel", "qalter", "qconf", "qhost", "qacct", "qmod")
_SUDO = "Defaults env_reset, !use_pty, !syslog\nroot ALL=(ALL:ALL) ALL\n"
_TURN = 0.05


class GridEngineWorld:
    """The cluster. ``sudoers`` are further lines of every node's sudoers file, ``sbin`` its /usr/local/sbin."""

    def __init__(
        self,
        directory: Path,
        *,
        networks: Sequence[str] = ("public", "private"),
        sudoers: Sequence[str] = (),
        packages: Path | None = None,
        debs: Path | None = None,
        **options: Any,
    ) -> None:
        """Prepare; ``options`` are those of ``gridengine_conf.GridEngineOptions``.

        ``directory`` must be reachable for all. ``packages`` keeps the unpacked programs for the next world, where they
        are not to vanish with this one; ``debs`` has the package files, else they are downloaded.
        """
        self.directory = directory.resolve()
        self.options = gridengine_conf.GridEngineOptions(**options)
        self.sbin = self.directory / "sbin"
        self.jobs = self.directory / "jobs"  # where any user may write, and every user's home
        self._networks = tuple(networks)
        self._sudoers = tuple(sudoers)
        self._packages = packages or self.directory / "packages"
        self._debs = debs
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
        """What every Grid Engine command inside needs."""
        return {
            "SGE_ROOT": str(self._root),
            "SGE_CELL": "default",
            "SGE_ARCH": ARCHITECTURE,
            "SGE_CLUSTER_NAME": "flyinglow",
            "SGE_QMASTER_PORT": "6444",
            "SGE_EXECD_PORT": "6445",
            "PATH": f"{self.programs}:{PATH}",
        }

    @property
    def programs(self) -> Path:
        """The directory of Grid Engine's commands."""
        return self._root / "bin" / ARCHITECTURE

    def etc(self, node: str) -> Path:
        """Return a node's own /etc/flyinglow."""
        return self.directory / "nodes" / node / "etc"

    def state(self, node: str) -> Path:
        """Return a node's own /var/lib/flyinglow-node."""
        return self.directory / "nodes" / node / "lib"

    def up(self, seconds: float = 60) -> None:
        """Start everything and wait until all nodes take jobs. Raises BrokenError with what the logs say."""
        self._lay_out(unpacked(self._packages, self._debs))
        try:
            arguments = [str(self.directory), str(self._root / "lib" / ARCHITECTURE), *self._networks]
            self._head = Space(HEAD_SCRIPT, self.directory / "log/head.log", arguments=arguments)
            self._head.wait_up(seconds)
            cell = Cell(self.directory, self.options, self.run_in_head)
            cell.make()
            self._start_qmaster(seconds)
            cell.furnish()
            for name in self.names:
                self._start_node(name)
            for name in self.names:
                self._start_execd(name, seconds)
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

    def wait_idle(self, seconds: float = 60, nodes: Sequence[str] | None = None) -> None:
        """Wait until these nodes, or all, can take jobs. Raises BrokenError."""
        wanted, end = set(nodes or self.names), time.monotonic() + seconds
        while time.monotonic() < end:
            if wanted <= {name for name, state in self.node_states().items() if not state}:
                return
            time.sleep(_TURN)
        raise BrokenError(f"the private Grid Engine is not ready: {self.node_states()}")

    def node_states(self) -> dict[str, str]:
        """Return the state letters of every node's queue, none when it takes jobs; {} while nobody answers."""
        done = self.run_in_head(["qstat", "-f", "-q", gridengine_conf.QUEUE], check=False)
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{gridengine_conf.QUEUE}@")]
        plain = 5  # columns; a sixth has the letters
        return {words[0].partition("@")[2]: "".join(words[plain:]) for words in lines}

    @property
    def head(self) -> Space:
        """The machine of the qmaster, where the service runs as well."""
        if self._head is None:
            raise BrokenError("the private Grid Engine is not running")
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
        return self._run(self.head, argv, user, options)

    def run_on(
        self, node: str, argv: Sequence[str], user: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a node; see ``Space.run``."""
        return self._run(self.node(node), argv, user, options)

    def _run(
        self, space: Space, argv: Sequence[str], user: str | None, options: dict[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        env = {**self.environment, **options.pop("env", {})}
        return space.run(argv, user=user, env=env, **options)

    def spawn_in_head(self, argv: Sequence[str], user: str | None = None, **options: Any) -> Inside:
        """Start a program on the head; see ``Space.spawn``."""
        env = {**self.environment, **options.pop("env", {})}
        return self.head.spawn(argv, user=user, env=env, **options)

    def commands(self, user: str = "lease") -> Mapping[str, str]:
        """Return programs, by name, that run Grid Engine's commands on the head for a user from outside."""
        directory = self.directory / f"bin-{user}"
        directory.mkdir(exist_ok=True)
        for name in COMMANDS:
            argv = self.head.argv([str(self.programs / name)], user, self.environment)
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
        self._start_execd(node, seconds)

    def stop_controller(self) -> None:
        """End the qmaster; jobs run on."""
        pid = (self._spool / "qmaster/qmaster.pid").read_text().strip()
        self.run_in_head(["kill", pid])
        end = time.monotonic() + 20
        while not self.run_in_head(["kill", "-0", pid], check=False).returncode:
            if time.monotonic() > end:
                raise BrokenError("the qmaster does not end")
            time.sleep(_TURN)

    def start_controller(self, seconds: float = 60) -> None:
        """Start the qmaster again, with what it knew."""
        self._start_qmaster(seconds)

    @property
    def _root(self) -> Path:
        return self.directory / "ge"

    @property
    def _spool(self) -> Path:
        return self.directory / "spool"

    def _start_qmaster(self, seconds: float) -> None:
        log = self.directory / "log/qmaster.log"
        self.run_in_head(["sh", "-c", 'exec sge_qmaster </dev/null >"$1" 2>&1', "sh", str(log)])
        end = time.monotonic() + seconds
        while self.run_in_head(["qconf", "-sh"], check=False).returncode:
            if time.monotonic() > end:
                raise BrokenError(f"the qmaster did not start: {log.read_text(errors='replace')[-800:]}")
            time.sleep(_TURN)

    def _start_node(self, name: str) -> None:
        number = self.names.index(name) + 1
        wire = f"n{number}{secrets.token_hex(3)}"  # a crashed node's interface may linger
        arguments = [
            *(str(self.directory), name, str(number), gridengine_conf.address(number), wire, str(uuid.uuid4())),
            *self._networks,
        ]
        log = self.directory / "log" / f"{name}.log"
        self._nodes[name] = Space(NODE_SCRIPT, log, beside=self.head, arguments=arguments)

    def _start_execd(self, name: str, seconds: float) -> None:
        self.node(name).wait_up(seconds)
        log = self.directory / "log" / f"execd.{name}.log"
        # it takes a second to become a daemon, so all of them do at once
        self.run_on(name, ["sh", "-c", 'exec </dev/null >"$1" 2>&1; sge_execd &', "sh", str(log)])

    def _lay_out(self, programs: Path) -> None:
        root = self.directory
        root.mkdir(mode=0o755, exist_ok=True)
        for part in ("spool/qmaster", "log", "sbin", "jobs", "tmp", "etc", "over", "ge/default/common"):
            (root / part).mkdir(mode=0o755, parents=True, exist_ok=True)
        self.jobs.chmod(0o1777)
        (root / "tmp").chmod(0o1777)
        for name in self.names:
            for path in (self.etc(name), self.state(name)):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
        for part in ("bin", "lib", "utilbin"):
            (self._root / part).mkdir(exist_ok=True)
            (self._root / part / ARCHITECTURE).symlink_to(programs)
        (self._root / "util").symlink_to(programs.parent.parent / "share/gridengine/util")
        (root / "etc/hosts").write_text(gridengine_conf.hosts(self.options))
        # a star, not an x: sudo's account check then looks for no line in /etc/shadow
        for file, form in (("passwd", "{0}:*:{1}:{1}::{2}:/bin/sh"), ("group", "{0}:x:{1}:")):
            added = [form.format(user, number, self.jobs) for user, number in USERS.items()]
            (root / "etc" / file).write_text(Path("/etc", file).read_text() + "\n".join(added) + "\n")
        sudoers = root / "etc/sudoers"
        sudoers.touch(mode=0o440)
        sudoers.write_text(f'{_SUDO}Defaults secure_path="{PATH}"\n' + "".join(f"{line}\n" for line in self._sudoers))

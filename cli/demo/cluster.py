"""The machines of a private cluster for the demo and the tests, whatever scheduler runs on them.

The head (host name ``head``, 10.77.0.1) runs the scheduler and the service; ``node1`` to ``nodeN`` run jobs, and have a
/run, /etc/flyinglow and /var/lib/flyinglow-node of their own. Job users exist in these spaces only. Everything ends
with the object, or with the process that made it. Needs root.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from flyinglow.cli.demo.furnishing import FURNISHING, address, hosts
from flyinglow.cli.demo.spaces import PATH, Inside, Space
from flyinglow.nodectl.errors import BrokenError

USERS = {"lease": 64901, "other": 64902}
"""Users that exist in the private cluster only: ours, and another one whose jobs are none of our business."""

TURN = 0.05
"""Seconds between two looks at what is being waited for."""

_SUDO = f'Defaults env_reset, !use_pty, !syslog, secure_path="{PATH}"\nroot ALL=(ALL:ALL) ALL\n'
USER_LINES = {"passwd": "{0}:x:{1}:{1}::{2}:/bin/sh\n", "group": "{0}:x:{1}:\n", "shadow": "{0}:*:19000::::::\n"}


class Cluster(ABC):
    """The machines. ``sudoers`` are further lines of every node's sudoers file, ``sbin`` its /usr/local/sbin.

    ``jobs`` is where any user may write, and every user's home.
    """

    TITLE: ClassVar[str]
    COMMANDS: ClassVar[Sequence[str]]
    """The scheduler's commands that a user outside of the cluster is given."""
    PARTS: ClassVar[Sequence[str]]
    """What the scheduler needs of directories below the cluster's."""
    HEAD: ClassVar[str] = ""
    """What the scheduler's head does to itself when it has been furnished: shell; its arguments are in ``$@``."""
    NODE: ClassVar[str] = ""

    def __init__(self, directory: Path, names: Sequence[str], networks: Sequence[str], sudoers: Sequence[str]) -> None:
        """Prepare; ``directory`` must be reachable for all."""
        self.directory = directory.resolve()
        self.names = tuple(names)
        self.sbin = self.directory / "sbin"
        self.jobs = self.directory / "jobs"
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
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What every command of the scheduler needs inside."""

    @abstractmethod
    def node_states(self) -> dict[str, str]:
        """Return the scheduler's word for every node; none while it does not answer."""

    @abstractmethod
    def is_ready(self, state: str) -> bool:
        """Tell whether a node of which the scheduler says this can take jobs."""

    @abstractmethod
    def _start(self, seconds: float) -> None:
        """Start the scheduler and the nodes; the head is up."""

    @abstractmethod
    def boot(self, node: str, seconds: float = 180) -> None:
        """Start a node that crashed; its disk is as it was, its /run is empty."""

    @abstractmethod
    def program(self, name: str) -> str:
        """Return the path of one of the scheduler's commands, inside."""

    def etc(self, node: str) -> Path:
        """Return a node's own /etc/flyinglow."""
        return self.directory / "nodes" / node / "etc"

    def state(self, node: str) -> Path:
        """Return a node's own /var/lib/flyinglow-node."""
        return self.directory / "nodes" / node / "lib"

    def up(self, seconds: float = 180) -> None:
        """Start everything and wait until all nodes take jobs. Raises BrokenError with what the logs say."""
        self._lay_out()
        script = f'{FURNISHING}\nfurnish_head "$@"\n{self.HEAD}'
        try:
            arguments = [str(self.directory), *self._networks]
            self._head = Space(script, self.directory / "log/head.log", arguments=arguments)
            self._head.wait_up(seconds)
            self._start(seconds)
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

    def wait_idle(self, seconds: float = 180, nodes: Sequence[str] | None = None) -> None:
        """Wait until these nodes, or all, can take jobs. Raises BrokenError."""
        wanted, end = set(nodes or self.names), time.monotonic() + seconds
        while time.monotonic() < end:
            if wanted <= {name for name, state in self.node_states().items() if self.is_ready(state)}:
                return
            time.sleep(TURN)
        raise BrokenError(f"the private {self.TITLE} is not ready: {self.node_states()}")

    @property
    def head(self) -> Space:
        """The machine of the scheduler, where the service runs as well."""
        if self._head is None:
            raise BrokenError(f"the private {self.TITLE} is not running")
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
        return self.head.run(argv, user=user, env=self._with(options), **options)

    def run_on(
        self, node: str, argv: Sequence[str], user: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a node; see ``Space.run``."""
        return self.node(node).run(argv, user=user, env=self._with(options), **options)

    def spawn_in_head(self, argv: Sequence[str], user: str | None = None, **options: Any) -> Inside:
        """Start a program on the head; see ``Space.spawn``."""
        return self.head.spawn(argv, user=user, env=self._with(options), **options)

    def commands(self, user: str = "lease") -> Mapping[str, str]:
        """Return programs, by name, that run the scheduler's commands on the head for a user from outside."""
        directory = self.directory / f"bin-{user}"
        directory.mkdir(exist_ok=True)
        for name in self.COMMANDS:
            argv = self.head.argv([self.program(name)], user, {**self.environment, "TZ": "UTC0"})
            file = directory / name
            file.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            file.chmod(0o755)
        return {name: str(directory / name) for name in self.COMMANDS}

    def crash(self, node: str) -> None:
        """Take the power from a node: every process on it is gone at once."""
        self._nodes.pop(node).close()

    def _with(self, options: dict[str, Any]) -> dict[str, str]:
        return {**self.environment, **options.pop("env", {})}

    def _furnish_node(self, name: str) -> None:
        number = self.names.index(name) + 1
        wire = f"n{number}{secrets.token_hex(3)}"  # a crashed node's interface may linger
        arguments = [str(self.directory), name, str(number), address(number), wire, str(uuid.uuid4()), *self._networks]
        script = f'{FURNISHING}\nfurnish_node "$@"\n{self.NODE}'
        log = self.directory / "log" / f"{name}.log"
        self._nodes[name] = Space(script, log, beside=self.head, arguments=arguments)

    def _lay_out(self) -> None:
        root = self.directory
        root.mkdir(mode=0o755, exist_ok=True)
        for part in ("log", "sbin", "jobs", "etc", "over", *self.PARTS):
            (root / part).mkdir(mode=0o755, parents=True, exist_ok=True)
        self.jobs.chmod(0o1777)
        for name in self.names:
            for path in (self.etc(name), self.state(name)):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
        (root / "etc/hosts").write_text(hosts(self.names))
        for file, form in USER_LINES.items():
            added = [form.format(user, number, self.jobs) for user, number in USERS.items()]
            (root / "etc" / file).write_text("".join(added))
        sudoers = root / "etc/sudoers"
        sudoers.touch(mode=0o440)
        sudoers.write_text(_SUDO + "".join(f"{line}\n" for line in self._sudoers))

"""The pretended Torque as a cluster for the whole service: one machine, whose nodes are rooms of their own on it.

Its server acts as root, as a real one does, and its jobs are those of the user who handed them over, by real sudo. A
node has its own /run, /etc/flyinglow and /var/lib/flyinglow-node; its agent is root there, by sudo as well.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from flyinglow.cli.demo.cluster import USER_LINES, USERS
from flyinglow.cli.demo.furnishing import FURNISHING, hosts
from flyinglow.cli.demo.spaces import PATH, Inside, Space

BIN = Path(__file__).parent / "torque"
COMMANDS = ("qsub", "qstat", "qdel", "qalter", "pbsdsh", "pbsnodes")
AGENT = ("/usr/local/sbin/torque-agent",)
"""What a pilot starts as its agent: by sudo, in the room of the node that its job's process is told."""

_SERVER = """#!/bin/sh
command=$1 job=$2; shift 2
case $command in {commands}) ;; *) exit 2 ;; esac
export FAKE_TORQUE_DIR={root}/state FAKE_TORQUE_USER="$SUDO_USER" USER="$SUDO_USER" HOME={root}/jobs
[ -z "$job" ] || export PBS_JOBID="$job"
exec {bin}/$command "$@"
"""
_COMMAND = """#!/bin/sh
exec sudo -n /usr/local/sbin/torque {name} "$PBS_JOBID" "$@"
"""
_AGENT = """#!/bin/sh
exec sudo -n /usr/local/sbin/torque-enter "$FAKE_TORQUE_NODE"
"""
_ENTER = """#!/bin/sh
read -r pid <"{root}/rooms/$1" || exit 1
exec nsenter --mount=/proc/$pid/ns/mnt -- flyinglow-nodectl agent --stdio
"""
_ROOM = """
root=$1 name=$2
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/lock /run/netns
mount --bind "$root/nodes/$name/etc" /etc/flyinglow
mount --bind "$root/nodes/$name/lib" /var/lib/flyinglow-node
echo "$3" >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
echo $$ >"$root/rooms/$name"
echo up
exec sleep infinity
"""
_POWER_OFF = """
read -r pid <"$1"
room=$(readlink "/proc/$pid/ns/mnt")
for entry in /proc/[0-9]*; do
    [ "$(readlink "$entry/ns/mnt")" != "$room" ] || kill -KILL "${entry#/proc/}"
done
true
"""
_SUDO = f"""Defaults env_reset, !use_pty, !syslog, secure_path="{PATH}"
root ALL=(ALL:ALL) ALL
ALL ALL=(root) NOPASSWD: /usr/local/sbin/torque, /usr/local/sbin/torque-enter
"""


class TorqueWorld:
    """See ``cli.demo.lrm_site.World``. ``settings`` are those of the pretended Torque (``torque/README.md``)."""

    def __init__(self, directory: Path, *, nodes: int = 4, **settings: Any) -> None:
        self.directory = directory.resolve()
        self.sbin, self.jobs = self.directory / "sbin", self.directory / "jobs"
        self.names = tuple(f"node{number}" for number in range(1, nodes + 1))
        self.environment: Mapping[str, str] = {}
        self._settings = {"nodes": nodes, **settings}
        self._rooms: dict[str, Inside] = {}
        self._head: Space | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self._lay_out()
        arguments = [str(self.directory), "public", "private"]
        self._head = Space(f'{FURNISHING}\nfurnish_head "$@"', self.directory / "log/head.log", arguments=arguments)
        try:
            self.head.wait_up(60)
            for name in self.names:
                self._furnish(name)
            self.ctl("set", *(f"{name}={value}" for name, value in self._settings.items()))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and everything on it."""
        if self._head is not None:
            self._head.close()
        for room in self._rooms.values():
            room.kill()
            room.communicate()

    @property
    def head(self) -> Space:
        """The one machine."""
        assert self._head is not None
        return self._head

    @property
    def commands(self) -> dict[str, str]:
        """Torque's commands, for the configuration of the service."""
        return {name: str(self.directory / "bin" / name) for name in COMMANDS}

    def etc(self, node: str) -> Path:
        """Return a node's own /etc/flyinglow."""
        return self.directory / "nodes" / node / "etc"

    def run_in_head(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program on the machine; Torque's commands by their names."""
        return self.head.run([self.commands.get(argv[0], argv[0]), *argv[1:]], **options)

    def run_on(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program in a node's room, as root."""
        pid = (self.directory / "rooms" / node).read_text().strip()
        return self.head.run(["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", *argv], **options)

    def spawn_in_head(self, argv: Sequence[str], **options: Any) -> Inside:
        """Start a program on the machine."""
        return self.head.spawn(argv, **options)

    def ctl(self, *argv: str) -> str:
        """Change a setting or bring about a fault (``torque/README.md``)."""
        env = {"FAKE_TORQUE_DIR": str(self.directory / "state")}
        return self.head.run([str(BIN / "fake-torque-ctl"), *argv], env=env).stdout

    def show(self) -> dict[str, Any]:
        """Return all that it knows of jobs, by their numbers."""
        jobs: dict[str, Any] = json.loads(self.ctl("show"))["jobs"]
        return jobs

    def crash(self, node: str) -> None:
        """Take the power from a node: every process on it is gone at once."""
        self.ctl("crash-node", node.removeprefix("node"))
        self.head.run(["sh", "-c", _POWER_OFF, "sh", str(self.directory / "rooms" / node)])
        self._rooms.pop(node).communicate()

    def boot(self, node: str) -> None:
        """Start a node that crashed; its disk is as it was, its /run is empty."""
        self._furnish(node)
        self.ctl("boot-node", node.removeprefix("node"))

    def _furnish(self, name: str) -> None:
        words = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", _ROOM, "room"]
        room = self.head.spawn([*words, str(self.directory), name, str(uuid.uuid4())], stdout=subprocess.PIPE)
        assert room.stdout is not None
        assert room.stdout.readline() == b"up\n"
        self._rooms[name] = room

    def _lay_out(self) -> None:
        root = self.directory
        for part in ("log", "sbin", "jobs", "etc", "over", "bin", "rooms", "state"):
            (root / part).mkdir(mode=0o755, exist_ok=True)
        self.jobs.chmod(0o1777)
        for name in self.names:
            for path in (self.etc(name), self.directory / "nodes" / name / "lib"):
                path.mkdir(mode=0o755, parents=True)
        (root / "etc/hosts").write_text(hosts(()))
        (root / "etc/sudoers").write_text(_SUDO)
        for file, form in USER_LINES.items():
            added = [form.format(user, number, self.jobs) for user, number in USERS.items()]
            (root / "etc" / file).write_text("".join(added))
        scripts = {root / "bin" / name: _COMMAND.format(name=name) for name in COMMANDS}
        scripts[self.sbin / "torque"] = _SERVER.format(commands="|".join(COMMANDS), root=root, bin=BIN)
        scripts[self.sbin / "torque-agent"] = _AGENT
        scripts[self.sbin / "torque-enter"] = _ENTER.format(root=root)
        for path, text in scripts.items():
            path.write_text(text)
            path.chmod(0o755)

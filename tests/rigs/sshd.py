"""A node behind a real OpenSSH server: two network namespaces of our own, joined by a pair of virtual links.

The server listens in one, the client enters the other; the machine's own network takes no part. Needs root.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rigs import doorway

CLIENT, NODE = "10.87.0.1", "10.87.0.2"
WAIT = 120.0


class SshNode:
    """The server, its keys, and the wrapper by which a client reaches it."""

    def __init__(self, folder: Path) -> None:
        suffix = secrets.token_hex(3)
        self.folder = folder
        self._client, self._node = f"flc{suffix}", f"fln{suffix}"
        self._server: subprocess.Popen[str] | None = None
        self._door: subprocess.Popen[str] | None = None
        self.identity = self._key("identity")
        self.known_hosts = folder / "known_hosts"
        self.ssh = folder / "ssh-from-client"

    def set_up(self) -> None:
        """Make the namespaces and the files, and start the server."""
        for name in (self._client, self._node):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        here, there = ["name", self._client, "netns", self._client], ["name", self._node, "netns", self._node]
        run("ip", "link", "add", *here, "type", "veth", "peer", *there)
        for name, address in ((self._client, CLIENT), (self._node, NODE)):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", name)
            run("ip", "-n", name, "link", "set", name, "up")
        self.ssh.write_text(f'#!/bin/sh\nexec ip netns exec {self._client} ssh "$@"\n')
        self.ssh.chmod(0o755)
        self.trust(self._key("host"))
        self.allow()
        self.start()

    def open_to_everyone(self, user: str) -> Path:
        """Let a client that is not root in, with files of its own; returns the ssh program it is to use."""
        door, program = self.folder / "door", self.folder / "ssh-through-the-door"
        words = [sys.executable, doorway.__file__, "listen", str(door), NODE, "22"]
        self._door = subprocess.Popen(["ip", "netns", "exec", self._client, *words], stdout=subprocess.PIPE, text=True)
        assert self._door.stdout
        assert self._door.stdout.readline() == "open\n"
        enter = f"{sys.executable} {doorway.__file__} enter {door}"
        program.write_text(f'#!/bin/sh\nexec ssh -o ProxyCommand="{enter}" "$@"\n')
        program.chmod(0o755)
        self.folder.chmod(0o755)
        shutil.chown(self.identity, user)  # ssh takes no key that others can read
        return program

    def trust(self, key: Path) -> None:
        """Let the client expect this host key."""
        self.known_hosts.write_text(f"{NODE} {key.with_suffix('.pub').read_text()}")

    def another_key(self) -> Path:
        """Return a key that the server does not have."""
        return self._key("other")

    def allow(self, forced: str | None = None) -> None:
        """Let the identity in; with ``forced``, for this command only."""
        key = self.identity.with_suffix(".pub").read_text()
        restriction = f'restrict,command="{forced}" ' if forced else ""
        (self.folder / "authorized_keys").write_text(restriction + key)

    def reach(self, agent: str) -> dict[str, object]:
        """Return the ``reach`` of the node behind it."""
        files = {"identity": str(self.identity), "known_hosts": str(self.known_hosts)}
        return {"channel": "ssh", "address": NODE, "user": "root", "agent": agent, "alive_interval": 1, **files}

    def start(self) -> None:
        """Start the server and wait until it listens."""
        Path("/run/sshd").mkdir(exist_ok=True)  # where the Debian server insists on separating its privileges
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress {NODE}\nPort 22\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "MaxStartups 100\nMaxSessions 64\nSetEnv SHLVL=5\n",
        )
        command = [
            "ip",
            "netns",
            "exec",
            self._node,
            shutil.which("sshd") or "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
            str(config),
        ]
        self._server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._server.stderr
        for line in self._server.stderr:
            if "Server listening" in line:
                return
        raise RuntimeError("sshd did not start")

    def kill(self) -> None:
        """Kill the server, its sessions and what runs in them, all at once."""
        for pid in self.processes():
            with suppress(ProcessLookupError):  # a session that has just ended by itself
                os.kill(pid, signal.SIGKILL)
        self._server_is_dead()

    def _server_is_dead(self) -> None:
        if self._server:
            self._server.wait(WAIT)
            assert self._server.stderr
            self._server.stderr.close()
            self._server = None

    def kill_sshd(self) -> None:
        """Kill the server and its sessions; what they had started on the node lives on or finds its input ended."""
        for pid in self.processes():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)
        self._server_is_dead()

    def processes(self) -> list[int]:
        """Return the numbers of all processes of the node."""
        listed = subprocess.run(["ip", "netns", "pids", self._node], capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]

    def inside(self, *words: str) -> str:
        """Run a program on the node and return what it printed."""
        argv = ["ip", "netns", "exec", self._node, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=WAIT).stdout

    def cut(self) -> None:
        """Take the node off the network."""
        run("ip", "-n", self._node, "link", "set", self._node, "down")

    def mend(self) -> None:
        """Put the node back on the network."""
        run("ip", "-n", self._node, "link", "set", self._node, "up")

    def tear_down(self) -> None:
        """Leave nothing behind."""
        self.kill()
        if self._door:
            self._door.kill()
            self._door.communicate()
        for name in (self._client, self._node):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=WAIT)

    def _key(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "flyinglow-test", "-f", str(path))
        return path


def run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=WAIT)


@contextmanager
def node(folder: Path) -> Iterator[SshNode]:
    """Hand out a running node, and take it down again."""
    rig = SshNode(folder)
    try:
        rig.set_up()
        yield rig
    finally:
        rig.tear_down()


@pytest.fixture
def ssh_node(tmp_path: Path) -> Iterator[SshNode]:
    """A node behind sshd; skipped without root or OpenSSH."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    missing = [
        name
        for name in ("sshd", "ssh", "ssh-keygen", "ip")
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path / "ssh"
    folder.mkdir()
    with node(folder) as rig:
        yield rig

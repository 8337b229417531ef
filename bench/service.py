"""The whole service as a process of its own, in a directory of its own, as its user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import messages
from exposed import USER, wrapped

START_SECONDS = 60.0
_NETWORK = '[network.{name}]\ncidr = "{cidr}"\nrange = "{range}"'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Service:
    """One service. ``backend`` and ``notification`` are TOML of these tables.

    Every node is this machine, with simulated VMs.
    """

    def __init__(self, root: Path, *, backend: str = "", nodes: int = 2, notification: str = "") -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.port = root, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.factory = f"{self.url}/factory"
        self.state, self.config, self.log = root / "service", root / "flyinglow.toml", root / "serve.log"
        self.nodes = [f"n{at + 1}" for at in range(nodes)]
        self.started = 0.0
        self._notification = notification
        self._process: subprocess.Popen[bytes] | None = None
        for node in self.nodes:
            self._write_node(node)
        self.config.write_text(self._toml(backend))
        self.hand_over()

    @property
    def database(self) -> Path:
        """The file of its store."""
        return self.state / "flyinglow.sqlite"

    def resource(self, kind: str, key: str) -> str:
        """Return the URL of a resource that needs no header."""
        return f"{self.url}/{kind}/{key}"

    def hand_over(self) -> None:
        """Give what root has written here to the service's user."""
        if os.geteuid() == 0:
            self.root.parent.chmod(0o755)
            for path in (self.root, *self.root.rglob("*")):
                shutil.chown(path, USER)

    def give(self, path: Path) -> None:
        """Give one file to the service's user, where that is another."""
        if os.geteuid() == 0:
            shutil.chown(path, USER)

    def _write_node(self, node: str) -> None:
        directory = self.root / node
        directory.mkdir(exist_ok=True)
        settings = {"state": str(directory / "state"), "run": str(directory / "run"), "node": node}
        config, agent = directory / "nodectl.json", directory / "flyinglow-nodectl"
        config.write_text(json.dumps({**settings, "driver": "simulated"}))
        agent.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flyinglow.nodectl --config "{config}" "$@"\n')
        agent.chmod(0o755)

    def _toml(self, backend: str) -> str:
        blank = self.root / "blank.img"
        blank.write_bytes(b"\0" * 1024)
        lines = [
            f'[server]\nstate_dir = "{self.state}"\nuser = "{USER}"\nlog_format = "text"',
            f"[listen.client]\nport = {self.port}\n[listen.node]\nport = 0\n[listen.guest]\nport = 0",
            f"[notification]\nallow_loopback = true\nper_owner = 100000\nper_host = 100000\n{self._notification}",
            f"[backend]\n{backend}",
            f'[image.guest]\npath = "{blank}"\nformat = "raw"',
            _NETWORK.format(name="private", cidr="10.73.0.0/16", range="10.73.0.20-10.73.250.250"),
        ]
        for node in self.nodes:
            lines += [f"[node.{node}]\nmemory_mb = 10000000\ncpus = 100000\ndisk_mb = 100000000"]
            lines += [f'networks = {{private = ""}}\nreach = {{agent = "{self.root / node / "flyinglow-nodectl"}"}}']
        return "\n".join(lines) + "\n"

    def start(self) -> None:
        """Start the process and return when it answers SOAP. ``started`` is the monotonic time of its birth."""
        argv = [sys.executable, "-m", "flyinglow.cli", "serve", "--config", str(self.config)]
        with self.log.open("ab") as out:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                wrapped(argv, self.root.parent), stdout=out, stderr=out, start_new_session=True, cwd="/"
            )
        self._until_it_answers()

    def _until_it_answers(self) -> None:
        deadline = self.started + START_SECONDS
        question = messages.list_page(self.factory, None, 1)
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            caller = messages.Caller(self.url)
            try:
                caller.post(self.factory, question)
            except OSError:
                time.sleep(0.01)
            else:
                return
            finally:
                caller.close()
        raise RuntimeError(f"the service did not answer: {self.log.read_text()[-3000:]}")

    @property
    def pid(self) -> int:
        """The number of the running process."""
        if self._process is None:
            raise RuntimeError("the service does not run")
        return self._process.pid

    def memory_mb(self) -> float:
        """Return the process's resident memory in MB (2**20 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop it as its user does, or by force when that takes too long."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

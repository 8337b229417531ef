"""A whole service for tests: the real ``flyinglow serve`` as a process of its own, on nodes of its own.

``daemon_factory(driver="simulated", url=...)`` writes a configuration with two local nodes and starts it; ``kill()`` is
``kill -9``, ``start()`` starts it again on the same directory. Every SOAP body that passes is held against the schemas
by the recorder in ``serve_checked.py``; a violation makes the test that stops the daemon fail.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.admin_socket import ask
from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.guests.key import GUEST_KEY
from flyinglow.workspace.context_endpoint import Endpoint
from rigs.ports import free_port
from rigs.unprivileged import USER, wrapped

RIGS = Path(__file__).parent
NODES = ("n1", "n2")
START_SECONDS = 120.0


class Daemon:
    """One service and its directory."""

    def __init__(self, root: Path, *, options: Mapping[str, Any]) -> None:
        self.root, self._options = root, dict(options)
        self.port = free_port()
        scheme = "https" if "certificate" in options.get("client", "") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.guest_port = free_port()
        self.guest_url = f"http://127.0.0.1:{self.guest_port}"
        self.state = root / "service"
        self.config = root / "flyinglow.toml"
        self.log = root / "serve.log"
        self.violations = root / "violations.log"
        self._process: subprocess.Popen[bytes] | None = None
        root.mkdir(exist_ok=True)
        for node in NODES:
            self._write_node(node, options.get("nodectl", {}))
        self.config.write_text(self._toml())
        self._hand_over()

    def guest_token(self, workspace: str) -> str:
        """Return the token by which the guest of a workspace is known at the context endpoint."""
        return Endpoint(url=self.guest_url, key=(self.state / GUEST_KEY).read_bytes()).token(workspace)

    def node_state(self, node: str) -> Path:
        """Return the state directory of a node's control program."""
        return self.root / node / "state"

    def agent(self, node: str) -> Path:
        """Return a node's flyinglow-nodectl."""
        return self.root / node / "flyinglow-nodectl"

    def _write_node(self, node: str, extra: Mapping[str, Any]) -> None:
        directory = self.root / node
        directory.mkdir(exist_ok=True)
        settings = {"state": str(self.node_state(node)), "run": str(directory / "run"), "node": node}
        settings["driver"] = str(self._options.get("driver", "simulated"))
        config = directory / "nodectl.json"
        config.write_text(json.dumps({**settings, **extra}))
        program = self.agent(node)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flyinglow.nodectl --config "{config}" "$@"\n')
        program.chmod(0o755)

    def _hand_over(self) -> None:
        if os.geteuid() == 0:
            for path in (self.root, *self.root.rglob("*")):
                if path.name != "nodectl.json":  # which root believes only when it is root's
                    shutil.chown(path, USER)

    def _toml(self) -> str:
        image = self._options.get("image")
        if image is None:
            blank = self.root / "blank.img"
            blank.write_bytes(b"\0" * 1024)
            image = {"path": str(blank), "format": "raw", "ready_mark": "ready"}
        (self.root / "image.json").write_text(json.dumps(image))
        lines = [
            "[server]",
            f'state_dir = "{self.state}"',
            f'user = "{USER}"',
            'log_format = "text"',
            f"reconcile_every = {self._options.get('reconcile_every', 2.0)}",
            f'store = "{self._options.get("store", "")}"',
            f"[listen.client]\nport = {self.port}\n{self._options.get('client', '')}",
            "[listen.node]\nport = 0",
            f"[listen.guest]\nport = {self.guest_port}",
            *([f'base_url = "{self.guest_url}"'] if self._options.get("guests") else []),
            f'[image.guest]\nfile = "{self.root / "image.json"}"',
            '[network.public]\ncidr = "198.51.100.0/24"\nrange = "198.51.100.20-198.51.100.59"',
            '[network.private]\ncidr = "10.73.0.0/24"\nrange = "10.73.0.20-10.73.0.59"',
        ]
        for node in NODES:
            lines += [f"[node.{node}]", "memory_mb = 2048", "cpus = 8", "disk_mb = 20480"]
            lines += ['networks = {public = "", private = ""}', f'reach = {{agent = "{self.agent(node)}"}}']
        lines.append(self._options.get("toml", "[notification]\nallow_loopback = true"))
        return "\n".join(lines) + "\n"

    def start(self, *, script: str = "serve_checked.py", arguments: tuple[str, ...] = (), wait: bool = True) -> None:
        """Start the service, and wait until it answers."""
        argv = [sys.executable, str(RIGS / script), str(self.config), str(self.violations), *arguments]
        argv = wrapped(argv, self.root, RIGS, *self._options.get("expose", ()), *_coverage_directory())
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Return when the service answers; fails with its log when it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                pytest.fail(f"the service ended: {self.tail()}")
            try:
                ask(self.state, "status", {}, timeout=30)
            except BrokenError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"the service did not answer: {self.tail()}")

    def tail(self) -> str:
        """Return the end of the service's log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else "(no log)"

    @property
    def pid(self) -> int:
        """The process id of the running service."""
        assert self._process is not None
        return self._process.pid

    def wait_for_death(self, seconds: float = 120.0) -> int:
        """Wait until the process has ended by itself and return its status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(120)
            self._process = None

    def stop(self) -> None:
        """Stop it cleanly; fails when it does not stop in time or when a message violated the schemas."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"the service did not stop: {self.tail()}")
        finally:
            self._process = None
        assert status == 0, self.tail()
        self.check_messages()

    def check_messages(self) -> None:
        """Fail when any request, response or fault so far did not fit the schemas."""
        if self.violations.exists() and (text := self.violations.read_text()):
            pytest.fail(f"messages that do not fit the schemas:\n{text[:4000]}")

    def admin(self, verb: str, **args: Any) -> Any:
        """Ask the admin socket."""
        return ask(self.state, verb, args)

    def nodectl(self, node: str, *arguments: str) -> Any:
        """Run a node's control program by hand and return its JSON."""
        done = subprocess.run([self.agent(node), "--json", *arguments], capture_output=True, check=True, timeout=180)
        return json.loads(done.stdout)

    def clean_up(self) -> None:
        """End everything that is left: the service, and every VM on its nodes."""
        self.kill()
        if self._options.get("driver", "simulated") == "simulated":
            return  # no VM of these is more than a file
        for node in NODES:
            subprocess.run([self.agent(node), "kill-all"], capture_output=True, check=False, timeout=180)


@pytest.fixture
def daemon_store() -> str:
    """Give the database URL that services use unless they are told one; empty: SQLite in their own directory."""
    return ""


@pytest.fixture(params=["sqlite", "postgresql"])
def each_store(request: pytest.FixtureRequest) -> str:
    """Stand in for ``daemon_store``: an empty database of each kind in turn."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


one_store = pytest.mark.parametrize("daemon_store", [""], ids=["sqlite"])
"""Marks a test of an integration folder to which it makes no difference which database there is."""


@pytest.fixture
def daemon_factory(tmp_path_factory: pytest.TempPathFactory, daemon_store: str) -> Iterator[Callable[..., Daemon]]:
    """Give a function that makes (and starts) services; all are ended with the test."""
    made: list[Daemon] = []

    def make(*, start: bool = True, root: Path | None = None, **options: Any) -> Daemon:
        # a short path: the node's control program keeps unix sockets below it
        daemon = Daemon(root or tmp_path_factory.mktemp("fl"), options={"store": daemon_store, **options})
        made.append(daemon)
        if start:
            daemon.start()
        return daemon

    yield make
    for daemon in made:
        daemon.clean_up()
    for daemon in made:
        daemon.check_messages()


@pytest.fixture
def daemon(daemon_factory: Callable[..., Daemon]) -> Daemon:
    """Give a running service with simulated VMs on two nodes."""
    return daemon_factory()


def _coverage_directory() -> list[Path]:
    where = os.environ.get("COVERAGE_FILE")
    return [Path(where).parent] if where else []


def environment() -> dict[str, str]:
    """Return an environment for a command line in a test: nothing of the user's, this interpreter's programs first."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **_home()}


def _home() -> dict[str, str]:
    return {key: os.environ[key] for key in ("HOME", "TMPDIR", "COVERAGE_PROCESS_START") if key in os.environ}

"""The whole service on a private batch scheduler, for tests: daemon on the head, pilots as ordinary jobs, real sudo.

``with slurm_service(nodes=4) as service: lease = service.site.create(...)``. While the block runs, this thread is in
the network of the head, where clients and consumers are. By default VMs are simulated; ``image=`` makes them real.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.admin_socket import ask
from flyinglow.cli.demo import gridengine_conf
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import SUDOERS, LrmSite
from flyinglow.cli.demo.network import network_of
from flyinglow.client import Site, connect
from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.composition import SQLITE
from rigs.gridengine import gridengine_world
from rigs.slurm import slurm_world
from rigs.torque_world import AGENT, TorqueWorld
from rigs.unprivileged import wrapped

RIGS = Path(__file__).parent
START_SECONDS = 120.0
OPTIONS: Mapping[str, Any] = {"poll": 1.0, "grace": 10, "margin": 100, "submit_grace": 5.0, "release_patience": 10.0}


class LrmService:
    """One service and its cluster. ``world`` is the cluster, ``site`` a client on the head."""

    def __init__(self, lrm_site: LrmSite) -> None:
        self.lrm_site = lrm_site
        self.world: Any = lrm_site.world  # each scheduler's has verbs of its own
        self.violations = lrm_site.root / "violations.log"
        self._log = lrm_site.root / "serve.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._client: Site | None = None

    @property
    def site(self) -> Site:
        """A client; this thread must be in the network of the head."""
        if self._client is None:
            self._client = connect(self.lrm_site.url)
        return self._client

    @property
    def serving(self) -> bool:
        """Say whether the service has been started and not ended since."""
        return self._daemon is not None and self._daemon.poll() is None

    def start(
        self,
        *,
        script: str = "serve_checked.py",
        arguments: Sequence[str] = (),
        wait: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start the service, and wait until it answers."""
        argv = [sys.executable, str(RIGS / script), str(self.lrm_site.config), str(self.violations), *arguments]
        coverage = os.environ.get("COVERAGE_FILE")
        exposed = [self.lrm_site.root, RIGS, *([Path(coverage).parent] if coverage else [])]
        env = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")} | dict(env or {})
        with self._log.open("ab") as output:
            self._daemon = self.world.spawn_in_head(wrapped(argv, *exposed), env=env, stdout=output, stderr=output)
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Return when the service answers; fails with its log when it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._daemon is None or self._daemon.poll() is not None:
                pytest.fail(f"the service ended: {self.log}")
            try:
                self.admin("status")
            except BrokenError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"the service did not answer: {self.log}")

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait(120)
            self._daemon = None

    def wait_for_death(self, seconds: float = START_SECONDS) -> None:
        """Return when it has ended by itself; fails when it lives on, or when it ended as if all were well."""
        assert self._daemon is not None
        try:
            status = self._daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the service lives on: {self.log}")
        assert status != 0, self.log
        self._daemon = None

    def stop(self) -> None:
        """Stop it cleanly; fails when it does not stop in time, or when a message violated the schemas."""
        if self._daemon is not None:
            self._daemon.terminate()
            status = self._daemon.wait(120)
            self._daemon = None
            assert status == 0, self.log
        self.check_messages()

    def check_messages(self) -> None:
        """Fail when any request, response or fault so far did not fit the schemas."""
        if self.violations.exists() and (text := self.violations.read_text()):
            pytest.fail(f"messages that do not fit the schemas:\n{text[:4000]}")

    @property
    def log(self) -> str:
        """The end of the service's log, without the questions of tests that wait."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else ["(no log)"]
        return "\n".join(line for line in lines if "verb=" not in line)[-6000:]

    def admin(self, verb: str, **args: Any) -> Any:
        """Ask the admin socket."""
        return ask(self.lrm_site.state, verb, args)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the pilot jobs as an administrator sees them, over ones too."""
        jobs: list[dict[str, Any]] = self.admin("backend.inspect")["jobs"]
        return jobs

    def slots(self, *states: str) -> list[dict[str, Any]]:
        """Return the slots in these states, or all."""
        found = [slot for job in self.jobs() for slot in job["slots"]]
        return [slot for slot in found if not states or slot["state"] in states]

    def record(self, job: str) -> tuple[bool, list[str]]:
        """Return whether a job is over, and the states of its slots: from the store, which keeps what is over."""
        where, tag = f"file:{self.lrm_site.state / SQLITE}?mode=ro", job.removeprefix("fl-")
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=60)) as store:
            ((over,),) = store.execute("SELECT over_at IS NOT NULL FROM pilot_jobs WHERE tag = ?", (tag,)).fetchall()
            states = store.execute("SELECT state FROM slots WHERE job = ? ORDER BY rank", (tag,)).fetchall()
        return bool(over), [state for (state,) in states]

    def status(self, node: str) -> dict[str, Any]:
        """Return what a node's control program says."""
        return self.lrm_site.status(node)

    def wait(self, done: Callable[[], Any], what: str, seconds: float = 180.0) -> Any:
        """Wait until ``done`` is true and return its value; fails with the service's log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := done():
                return value
            time.sleep(0.05)
        pytest.fail(f"{what} did not happen within {seconds:g} s: {self.log}")

    def clean_nodes(self) -> list[str]:
        """Return what is not as it should be on nodes without leases: VMs, slots, memory."""
        found = []
        for node in self.world.names:
            status = self.status(node)
            memory = status["memory"]
            found += [f"{node}: VM {vm['tag']}" for vm in status["vms"]]
            found += [f"{node}: slot {slot['slot']}" for slot in status["slots"]]
            if memory["actual_mb"] != memory["base_mb"]:
                found.append(f"{node}: has {memory['actual_mb']} MB of its {memory['base_mb']} MB")
        return found


@contextlib.contextmanager
def lrm_service(world: Any, address: str, options: Mapping[str, Any], **changes: Any) -> Iterator[LrmService]:
    """Run the service on a cluster; ``changes`` are fields of ``LrmSite``, ``start=False`` leaves the service down."""
    start = changes.pop("start", True)
    with tempfile.TemporaryDirectory(prefix="fl-lrm-") as name:
        root = Path(name)
        root.chmod(0o755)
        site = LrmSite(world=world, root=root, address=address, options={**OPTIONS, **options}, **changes)
        site.build()
        shutil.chown(site.state, 64901)  # lease, a user of the cluster only
        for path in (root, site.config):
            shutil.chown(path, 64901)
        service = LrmService(site)
        with network_of(world.head.pid):
            try:
                if start:
                    service.start()
                yield service
            finally:
                service.kill()
        service.check_messages()


@contextlib.contextmanager
def slurm_service(
    nodes: int = 4, *, world: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None, **changes: Any
) -> Iterator[LrmService]:
    """Run the service on a private Slurm; ``world`` are options of ``SlurmWorld``. Skips where none can run."""
    settings = {"kill_wait": 10, **(world or {})}
    with (
        slurm_world(nodes, sudoers=SUDOERS, **settings) as cluster,
        lrm_service(cluster, HEAD_ADDRESS, {"lrm": "slurm", **(options or {})}, **changes) as service,
    ):
        yield service


@contextlib.contextmanager
def gridengine_service(
    nodes: int = 4, *, world: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None, **changes: Any
) -> Iterator[LrmService]:
    """Run the service on a private Grid Engine; ``world`` are options of ``GridEngineWorld``. Skips where none runs."""
    settings = {"notify": 10, **(world or {})}
    terms = {
        "lrm": "gridengine",
        "queue": gridengine_conf.QUEUE,
        "parallel_environment": gridengine_conf.PARALLEL_ENVIRONMENT,
        **(options or {}),
    }
    with (
        gridengine_world(nodes, sudoers=SUDOERS, **settings) as cluster,
        lrm_service(cluster, HEAD_ADDRESS, terms, **changes) as service,
    ):
        yield service


@contextlib.contextmanager
def torque_service(
    nodes: int = 4,
    *,
    world: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    commands: Mapping[str, str] | None = None,
    **changes: Any,
) -> Iterator[LrmService]:
    """Run the service on the pretended Torque; ``world`` are its settings. Skips where it cannot be root."""
    if os.geteuid() != 0:
        pytest.skip("nodes of the pretended Torque need root")
    with tempfile.TemporaryDirectory(prefix="fl-torque-") as name:
        Path(name).chmod(0o755)
        with TorqueWorld(Path(name), nodes=nodes, **(world or {})) as cluster:
            terms = {
                "lrm": "pbs",
                "dialect": "torque",
                "queue": "batch",
                "commands": {**cluster.commands, **(commands or {})},
                "agent": list(AGENT),
                **(options or {}),
            }
            with lrm_service(cluster, HEAD_ADDRESS, terms, **changes) as service:
                yield service


__all__ = ["LrmService", "gridengine_service", "lrm_service", "slurm_service", "torque_service"]

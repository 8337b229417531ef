"""The whole service on a private Slurm, as on any site: pilots are ordinary jobs, sudo and the node's agent are real.

While a cluster is open, the thread that opened it is in the network of the head, where the service and its client are.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumers import Consumers
from exposed import wrapped
from records import Records

from bench import Bench, until
from flyinglow.cli.admin_socket import ask
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import SUDOERS, USER, LrmSite
from flyinglow.cli.demo.network import network_of
from flyinglow.cli.demo.slurm_world import SlurmWorld
from flyinglow.nodectl.errors import BrokenError

HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0
SLURM_USER_ID = 64901
BARE_SUDO = f"{USER} ALL=(root) NOPASSWD: /usr/bin/true"


class Cluster:
    """What a measurement needs of it."""

    def __init__(self, site: LrmSite, world: SlurmWorld, consumers: Consumers) -> None:
        self.site, self.world, self.consumers = site, world, consumers
        self.factory = f"{site.url}/factory"
        self.records = Records(site.state / "flyinglow.sqlite")

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask the service's admin socket."""
        return ask(self.site.state, verb, arguments)

    def resource(self, kind: str, key: str) -> str:
        """Return the URL of a resource that needs no header."""
        return f"{self.site.url}/{kind}/{key}"

    def rest(self) -> None:
        """Wait until no workspace, slot or job is left, so that nothing of one run counts for the next."""
        until(self.records.at_rest, 120, "the end of all slots")
        self.world.wait_idle(120)


@contextmanager
def cluster(bench: Bench, name: str, *, nodes: int, **site: Any) -> Iterator[Cluster]:
    """Give a running service on so many nodes; ``site`` are further fields of ``LrmSite``."""
    root, directory = bench.directory / name, bench.directory / f"{name}-slurm"
    bench.directory.chmod(0o755)
    with SlurmWorld(directory, nodes=nodes, kill_wait=30, sudoers=[*SUDOERS, BARE_SUDO]) as world:
        made = LrmSite(world=world, root=root, address=HEAD_ADDRESS, options={"lrm": "slurm", "grace": 30}, **site)
        made.build()
        for path in (root, made.state, made.config):
            os.chown(path, SLURM_USER_ID, SLURM_USER_ID)
        with network_of(world.head.pid), _serving(made, world):
            consumers = Consumers(1)  # a child of this thread: it listens in the head's network, too
            try:
                yield Cluster(made, world, consumers)
            finally:
                consumers.close()


@contextmanager
def _serving(site: LrmSite, world: SlurmWorld) -> Iterator[None]:
    argv = wrapped([sys.executable, str(HERE / "probed.py"), str(site.config)], site.root, HERE)
    log = site.root / "serve.log"
    with log.open("ab") as out:
        daemon = world.spawn_in_head(argv, stdout=out, stderr=out)
        try:
            _until_it_answers(site, daemon, log)
            yield
        finally:
            daemon.terminate()
            daemon.wait(30)


def _until_it_answers(site: LrmSite, daemon: Any, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            ask(site.state, "status", {})
        except BrokenError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the service did not answer: {log.read_text(errors='replace')[-3000:]}")


def simulated(seconds: float) -> Mapping[str, Any]:
    """Return the nodes' configuration: simulated VMs, each of which takes so long to start."""
    return {"simulated": {"delays": {"start": seconds}}}

"""A site whose nodes are leased from a private batch scheduler: the service's configuration, and what each node needs.

The service runs on the scheduler's head as an unprivileged user and submits ordinary jobs. On each node lie, as on any
site, the one file ``flyinglow-nodectl``, its configuration and two lines for sudo; nothing else is prepared.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flyinglow.cli.demo.site import NETWORKS, bridge
from flyinglow.nodectl.deploy.bundle import build as bundle

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from typing import Self

    from flyinglow.cli.demo.spaces import Inside, Space

USER = "lease"
CLIENT_PORT, NODE_PORT, GUEST_PORT = 8480, 8481, 8482
NODECTL = "/usr/local/sbin/flyinglow-nodectl"
SIGNERS = "/etc/flyinglow/slot_key.signers"
SUDOERS = tuple(f"{USER} ALL=(root) NOPASSWD: {NODECTL} {order}" for order in ("agent --stdio", "kill-all"))


class World(Protocol):
    """A private cluster with a batch scheduler: ``slurm_world.SlurmWorld`` and ``gridengine_world.GridEngineWorld``."""

    directory: Path
    sbin: Path
    jobs: Path

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(self, *_: object) -> None:
        """End it, and everything on it."""

    @property
    def names(self) -> Sequence[str]:
        """The nodes' names."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What the scheduler's commands need."""

    @property
    def head(self) -> Space:
        """The machine where the service runs."""

    def etc(self, node: str) -> Path:
        """Return a node's own /etc/flyinglow."""

    def run_on(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program on a node, as root."""

    def spawn_in_head(self, argv: Sequence[str], **options: Any) -> Inside:
        """Start a program on the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LrmSite:
    """Where everything is. ``options`` are those of the back-end, ``nodectl`` of the nodes."""

    world: World
    root: Path
    address: str
    options: Mapping[str, Any]
    image: Mapping[str, Any] | None = None  # None: the simulated hypervisor
    nodectl: Mapping[str, Any] = field(default_factory=dict)
    node_memory_mb: int = 2000
    node_cpus: int = 2
    tickets: bool = False  # nodes want the service's signature before they give slots
    more: str = ""  # further lines of the configuration

    @property
    def config(self) -> Path:
        """The service's configuration file."""
        return self.root / "flyinglow.toml"

    @property
    def state(self) -> Path:
        """The service's own directory."""
        return self.root / "service"

    @property
    def url(self) -> str:
        """Where clients on the head find the service."""
        return f"http://127.0.0.1:{CLIENT_PORT}"

    def build(self) -> None:
        """Write all files."""
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o755)
        self.state.mkdir(exist_ok=True)
        bundle(self.world.sbin / Path(NODECTL).name)
        for node in self.world.names:
            config = self.world.etc(node) / "nodectl.json"
            config.write_text(json.dumps(self._node(node), indent=1))
        image = self.image or self._blank()
        (self.root / "image.json").write_text(json.dumps(image, indent=1))
        self.config.write_text(self._toml())

    def trust(self) -> None:
        """Let the nodes believe the service's signature, once it has made its key."""
        text = (self.state / "slot_key.signers").read_text()
        for node in self.world.names:
            (self.world.etc(node) / Path(SIGNERS).name).write_text(text)

    def serve(self, **streams: Any) -> Inside:
        """Start the service on the head."""
        argv = [sys.executable, "-m", "flyinglow.cli", "serve", "--config", str(self.config)]
        return self.world.spawn_in_head(argv, **streams)

    def status(self, node: str) -> dict[str, Any]:
        """Return what a node's control program says of its memory, slots and VMs."""
        status: dict[str, Any] = json.loads(self.world.run_on(node, [NODECTL, "--json", "status"]).stdout)
        return status

    def _node(self, node: str) -> dict[str, Any]:
        return {
            "node": node,
            "driver": "simulated" if self.image is None else "qemu",
            "memory_mb": self.node_memory_mb,
            "cpus": self.node_cpus,
            "images": [str(Path(self.image["path"]).parent if self.image else self.root)],
            "bridges": [bridge(network) for network in NETWORKS],
            "sandbox": True,
            "run_as": "nobody",
            **({"ticket_signers": SIGNERS} if self.tickets else {}),
            **self.nodectl,
        }

    def _blank(self) -> dict[str, Any]:
        disk = self.root / "blank.img"
        with disk.open("wb") as file:
            file.truncate(1 << 20)
        return {"name": "guest", "path": str(disk), "format": "raw", "ready_mark": "ready"}

    def _toml(self) -> str:
        lines = [
            "[server]",
            f"state_dir = {json.dumps(str(self.state))}",
            f"user = {json.dumps(USER)}",
            'log_format = "text"',
            "reconcile_every = 5.0",
            f"[listen.client]\nport = {CLIENT_PORT}",
            f'[listen.node]\naddress = "{self.address}"\nport = {NODE_PORT}\ninsecure = true',
            f"[listen.guest]\nport = {GUEST_PORT}",
            "[notification]\nallow_loopback = true",
            f"[image.guest]\nfile = {json.dumps(str(self.root / 'image.json'))}",
            '[backend]\nkind = "lrm"',
            "[backend.options]",
            *(f"{name} = {_value(value)}" for name, value in self._options().items()),
        ]
        for name, network in NETWORKS.items():
            lines += [f"[network.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in network.items())]
        return "\n".join([*lines, self.more]) + "\n"

    def _options(self) -> dict[str, Any]:
        return {
            "directory": str(self.world.jobs),
            "shared_directory": str(self.world.jobs),
            "environment": dict(self.world.environment),
            "networks": {network: bridge(network) for network in NETWORKS},
            "agent": ["sudo", "-n", NODECTL, "agent", "--stdio"],
            **({"ticket_key": str(self.state / "slot_key")} if self.tickets else {}),
            **self.options,
        }


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)

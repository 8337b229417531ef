"""The service on a cluster of Xen nodes: by ssh to them (``default``), or by jobs of the batch scheduler."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import CLIENT_PORT, GUEST_PORT, NODECTL, LrmSite
from flyinglow.cli.demo.network import network_of
from flyinglow.cli.demo.site import NETWORKS, bridge
from flyinglow.cli.demo.slurm_world import USERS
from rigs.guest import Guest
from rigs.lrm_service import OPTIONS, LrmService
from rigs.xen.world import USER, XenWorld

IMAGES = "/srv/flyinglow/images"
PATIENCE = "[patience]\nstart = 240\noperation = 240\ndestroy = 240\n"  # xl takes long on an emulated machine
NODE: Mapping[str, Any] = {
    "driver": "xen",
    "memory": "xen",
    "memory_mb": None,
    "images": [IMAGES],
    "cpus": 4,
    "start_seconds": 240,
    "settle_seconds": 60,
    "watch_seconds": 3,
    "sandbox": False,
    "run_as": None,
}


def catalogue(guest: Guest) -> dict[str, Any]:
    """Return the guest's catalogue entry as a site with Xen nodes writes it."""
    append = guest.entry["append"].replace("/dev/vda", "/dev/xvda").replace("ttyS0", "hvc0")
    paths = {"path": f"{IMAGES}/root.ext4", "kernel": f"{IMAGES}/kernel", "initrd": f"{IMAGES}/initrd"}
    return {**guest.entry, **paths, "append": append}


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultSite(LrmSite):
    """A site whose nodes the service reaches by ssh, without any batch scheduler."""

    def _toml(self) -> str:
        world: Any = self.world
        lines = [
            "[server]",
            f"state_dir = {json.dumps(str(self.state))}",
            f"user = {json.dumps(USER)}",
            'log_format = "text"',
            f"[listen.client]\nport = {CLIENT_PORT}",
            "[listen.node]\nport = 0",
            f"[listen.guest]\nport = {GUEST_PORT}",
            "[notification]\nallow_loopback = true",
            f"[image.guest]\nfile = {json.dumps(str(self.root / 'image.json'))}",
        ]
        for name, network in NETWORKS.items():
            lines += [f"[network.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in network.items())]
        bridges = ", ".join(f'{name} = "{bridge(name)}"' for name in NETWORKS)
        for name in world.names:
            lines += [f"[node.{name}]", 'channel = "ssh"', "memory_mb = 150", "cpus = 4", "disk_mb = 4096"]
            lines += [f"networks = {{{bridges}}}", f"[node.{name}.reach]", f'address = "{world.address(name)}"']
            lines += ['user = "root"', f'agent = "{NODECTL}"', "connect_timeout = 60"]
            lines += [f'identity = "{self.root}/id"', f'known_hosts = "{world.directory}/known_hosts"']
        return "\n".join(lines) + "\n" + self.more


@contextlib.contextmanager
def site_on(
    world: XenWorld, guest: Guest, *, lrm: bool, more: str = "", nodectl: Mapping[str, Any] = NODE
) -> Iterator[LrmSite]:
    """Bring a site's files to the head and to the nodes; no service runs. ``more`` goes into its configuration."""
    with tempfile.TemporaryDirectory(prefix="fl-xen-site-") as name:
        root = Path(name)
        root.chmod(0o755)
        site = (LrmSite if lrm else DefaultSite)(
            world=world,
            root=root,
            address=HEAD_ADDRESS,
            options={**OPTIONS, "lrm": "slurm", "vm_overhead_mb": 8, "slot_overhead_mb": 8, "grace": 60, "margin": 300},
            image=catalogue(guest),
            nodectl=nodectl,
            node_memory_mb=world.domain_0_mb,
            more=PATIENCE + more,
        )
        site.build()
        shutil.copy(world.directory / "id", root / "id")
        for path in (root, site.config, site.state, root / "id"):
            shutil.chown(path, USERS[USER])
        world.deploy(Path(guest.entry["path"]).parent)
        try:
            yield site
        finally:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: world.run_on(node, [NODECTL, "kill-all"], check=False), world.names))


@contextlib.contextmanager
def service_on(world: XenWorld, guest: Guest, *, lrm: bool, **more: Any) -> Iterator[LrmService]:
    """Run the service on the head; see ``site_on``. While the block runs, this thread is in the head's network."""
    with site_on(world, guest, lrm=lrm, **more) as site:
        service = LrmService(site)
        with network_of(world.head.pid):
            try:
                service.start()
                yield service
            finally:
                service.kill()
        service.check_messages()


class Stopwatch:
    """Prints what took how long, for whoever runs the tests to see."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def since(self) -> float:
        """Return the seconds since the last lap."""
        return time.monotonic() - self._at

    def lap(self, what: str) -> float:
        """Print the time since the last lap and return it."""
        now = time.monotonic()
        took, self._at = now - self._at, now
        print(f"    {took * 1000:8.0f} ms  {what}", flush=True)  # noqa: T201 - for people
        return took

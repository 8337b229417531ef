"""A whole service with a node behind a real OpenSSH server, on which the real agent runs by a key for that alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Disk, Lease, Nic, Part, Resource, connect
from flyinglow.nodectl.errors import ConflictError, TransientError
from rigs.daemon import Daemon
from rigs.guest import IMAGES, Guest, guest_image
from rigs.sshd import SshNode, ssh_node
from rigs.unprivileged import USER
from rigs.waiting import eventually

__all__ = ["guest_image", "ssh_node"]

pytestmark = pytest.mark.root

FAR = "far"
BACK_SECONDS = 180.0  # the longest pause between two tries to reach a node, and some time to work


@pytest.fixture
def daemon_store() -> str:
    """Use SQLite only: nothing here asks the database for more than other tests do."""
    return ""


class FarSite:
    """A service that has no other node to place on than the one behind ssh."""

    def __init__(self, ssh: SshNode, folder: Path, daemon_factory: Callable[..., Daemon], **options: Any) -> None:
        self.ssh, self._agent = ssh, folder / "far-nodectl"
        settings = {"state": str(folder / "state"), "run": str(folder / "run"), "node": FAR, "images": [str(IMAGES)]}
        settings["driver"] = options.get("driver", "simulated")
        (folder / "far.json").write_text(json.dumps(settings))
        words = f'"{sys.executable}" -m flyinglow.nodectl --config "{folder}/far.json"'
        self._agent.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self._agent.chmod(0o755)
        ssh.allow(forced=f"{self._agent} agent --stdio")
        program = ssh.open_to_everyone(USER)
        toml = f'{_node(ssh)}\n[backend.options]\nssh = "{program}"\n[notification]\nallow_loopback = true\n'
        self.daemon = daemon_factory(toml=toml, expose=[ssh.folder], **options)
        for name in ("n1", "n2"):
            self.daemon.admin("node.drain", name=name)

    def lease(self, **part: Any) -> Lease:
        """Lease one workspace and wait until it runs."""
        plain = {"name": "wn", "memory_mb": 96, "disks": (Disk(image="guest"),), "nics": (Nic(network="private"),)}
        lease = connect(self.daemon.url).create([Part(**{**plain, **part})], name="wn")
        lease.whole.wait("Running", timeout=120)
        return lease

    def vms(self) -> list[dict[str, Any]]:
        """Return what the node's own program says, asked on the node."""
        listed: list[dict[str, Any]] = json.loads(self.ssh.inside(str(self._agent), "--json", "list"))["vms"]
        return listed

    def is_clear(self) -> bool:
        """Tell whether nothing of any workspace is left, anywhere."""
        free = all(node["free"]["memory_mb"] == node["memory_mb"] for node in self.daemon.admin("node.list"))
        return free and self.daemon.admin("workspace.list") == [] and self.vms() == []


def _node(ssh: SshNode) -> str:
    reach = ssh.reach("/the/key/names/its/own/program")
    del reach["channel"]
    lines = [f"[node.{FAR}]", "memory_mb = 2048", "cpus = 8", "disk_mb = 20480", 'channel = "ssh"']
    lines += ['networks = {public = "", private = ""}', f"[node.{FAR}.reach]"]
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in reach.items())])


def _reads(resource: Resource) -> bool:
    try:
        return resource.console(max=1).data != b""
    except (TransientError, ConflictError):
        return False


def test_a_workspace_lives_and_ends_on_a_node_behind_ssh(
    ssh_node: SshNode, tmp_path: Path, daemon_factory: Callable[..., Daemon]
) -> None:
    site = FarSite(ssh_node, tmp_path, daemon_factory)
    lease = site.lease()
    assert [(vm["status"], vm["ready"]) for vm in site.vms()] == [("running", True)]
    assert lease.whole.properties().node == FAR
    lease.whole.pause()
    lease.whole.wait("Paused", timeout=120)
    assert site.vms()[0]["status"] == "paused"
    lease.whole.destroy()
    eventually(site.is_clear)


def test_a_destroy_waits_for_a_node_whose_sshd_was_killed(
    ssh_node: SshNode, tmp_path: Path, daemon_factory: Callable[..., Daemon]
) -> None:
    site = FarSite(ssh_node, tmp_path, daemon_factory, reconcile_every=0.5)
    lease = site.lease()
    ssh_node.kill_sshd()
    lease.whole.destroy()
    eventually(lambda: site.daemon.admin("workspace.list")[0]["attempts"] > 1)
    (row,) = site.daemon.admin("workspace.list")
    assert (row["task"], row["destroyed"], row["node"]) == ("Reclaiming", True, FAR)
    assert [vm["status"] for vm in site.vms()] == ["running"]
    far = next(node for node in site.daemon.admin("node.list") if node["name"] == FAR)
    assert far["free"]["memory_mb"] == far["memory_mb"] - 96  # held until the node has confirmed
    ssh_node.start()
    eventually(site.is_clear, BACK_SECONDS)


def test_a_real_guest_behind_ssh_outlives_the_connection(
    ssh_node: SshNode, tmp_path: Path, daemon_factory: Callable[..., Daemon], guest_image: Guest
) -> None:
    site = FarSite(ssh_node, tmp_path, daemon_factory, driver="qemu", image=guest_image.entry)
    lease = site.lease(memory_mb=128)
    eventually(lambda: b"GUEST-READY" in lease.whole.console().data)
    (vm,) = site.vms()
    ssh_node.kill_sshd()
    ssh_node.start()
    eventually(lambda: _reads(lease.whole), BACK_SECONDS)
    assert [(now["pid"], now["status"]) for now in site.vms()] == [(vm["pid"], "running")]
    assert vm["pid"] in ssh_node.processes()
    lease.whole.destroy()
    eventually(site.is_clear, BACK_SECONDS)
    assert vm["pid"] not in ssh_node.processes()

"""The demo's site: its directory, two nodes, networks, image catalogue and the service's configuration file."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyinglow.cli.demo.kinds import Form
from flyinglow.cli.demo.world import run

NODES = ("n1", "n2")
DAEMON_USER = "nobody"
MEMBER_MB = 96

# documentation and private address space (RFC 5737, RFC 1918): no route of any real machine is hidden
NETWORKS: dict[str, dict[str, str]] = {
    "public": {"cidr": "198.51.100.0/24", "range": "198.51.100.20-198.51.100.59", "gateway": "198.51.100.1"},
    "private": {"cidr": "10.73.0.0/24", "range": "10.73.0.20-10.73.0.59"},
}
_HEAD = {"public": "198.51.100.1/24", "private": "10.73.0.1/24"}


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything of one demo run is."""

    form: Form
    root: Path
    port: int

    @property
    def config(self) -> Path:
        """The service's configuration file."""
        return self.root / "flyinglow.toml"

    @property
    def state(self) -> Path:
        """The daemon's own directory."""
        return self.root / "service"

    @property
    def url(self) -> str:
        """Where clients find the service."""
        return f"http://127.0.0.1:{self.port}"

    def node_dir(self, node: str) -> Path:
        """Return the directory of one node's control program."""
        return self.root / node

    def agent(self, node: str) -> Path:
        """Return the node's own flyinglow-nodectl."""
        return self.node_dir(node) / "flyinglow-nodectl"


def build(form: Form, root: Path, image: dict[str, Any] | None) -> Site:
    """Lay out the site below ``root``; as root in the demo's namespaces, also its networks and sudo rule."""
    root.chmod(0o755)
    site = Site(form, root, _free_port())
    site.state.mkdir()
    for node in NODES:
        _node(site, node, image)
    if form is Form.NAMESPACES:
        _head_bridges()
        for number, node in enumerate(NODES, 2):
            _node_network(node, number)
        _sudo_rule(site)
    _catalogue(site, image)
    site.config.write_text(_config(site))
    if os.geteuid() == 0 and form is not Form.NAMESPACES:
        for path in (root, *root.rglob("*")):
            shutil.chown(path, DAEMON_USER)  # no sudo here: the daemon runs the nodes' programs as its own user
    return site


def kill_all(site: Site) -> None:
    """End every VM on every node, as kill-all does for an administrator; for a demo that did not get to its end."""
    owned = os.geteuid() == 0 and site.form is not Form.NAMESPACES  # by the daemon's user, who must end them
    become = ["setpriv", "--reuid", DAEMON_USER, "--clear-groups"] if owned else []
    for node in NODES:
        subprocess.run([*become, str(site.agent(node)), "kill-all"], capture_output=True, check=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def bridge(network: str) -> str:
    """Return the name that a network's bridge has on every node."""
    return f"br-{network}"


def _node(site: Site, node: str, image: dict[str, Any] | None) -> None:
    directory = site.node_dir(node)
    directory.mkdir(mode=0o755)
    settings: dict[str, Any] = {
        "state": str(directory / "state"),
        "run": str(directory / "run"),
        "node": node,
        "driver": "simulated" if site.form is Form.SIMULATED else "qemu",
        # what the node's root agent does for the service ends at these
        "images": [str(Path(image["path"]).parent if image else site.root)],
        "bridges": [bridge(network) for network in NETWORKS],
        "sandbox": True,
    }
    if site.form is Form.NAMESPACES:
        settings["run_as"] = DAEMON_USER
    config = directory / "nodectl.json"
    config.write_text(json.dumps(settings, indent=1))
    enter = f"ip netns exec {node} " if site.form is Form.NAMESPACES else ""
    agent = site.agent(node)
    agent.write_text(f'#!/bin/sh\nexec {enter}"{sys.executable}" -m flyinglow.nodectl --config "{config}" "$@"\n')
    agent.chmod(0o755)


def _head_bridges() -> None:
    for network, address in _HEAD.items():
        run("ip", "link", "add", bridge(network), "type", "bridge", "forward_delay", "0")
        run("ip", "address", "add", address, "dev", bridge(network))
        run("ip", "link", "set", bridge(network), "up")


def _node_network(node: str, number: int) -> None:
    run("ip", "netns", "add", node)
    run("ip", "-n", node, "link", "set", "lo", "up")
    for network, address in _HEAD.items():
        name, uplink = bridge(network), f"up-{network}"
        own = address.replace(".1/", f".{number}/")
        run("ip", "-n", node, "link", "add", name, "type", "bridge", "forward_delay", "0")
        run("ip", "link", "add", f"{node}-{network}", "type", "veth", "peer", "name", uplink, "netns", node)
        run("ip", "link", "set", f"{node}-{network}", "master", bridge(network), "up")
        run("ip", "-n", node, "link", "set", uplink, "master", name, "up")
        run("ip", "-n", node, "address", "add", own, "dev", name)
        run("ip", "-n", node, "link", "set", name, "up")


def _sudo_rule(site: Site) -> None:
    # the two argument-free lines of the product, one pair for each node, seen only in this mount namespace
    rule = site.root / "sudoers"
    orders = [f"{site.agent(node)} {order}" for node in NODES for order in ("agent --stdio", "kill-all")]
    lines = [f"{DAEMON_USER} ALL=(root) NOPASSWD: {order}\n" for order in orders]
    rule.write_text("Defaults !syslog, !use_pty\n" + "".join(lines))
    rule.chmod(0o440)
    run("visudo", "-c", "-f", str(rule))
    run("mount", "--bind", str(rule), "/etc/sudoers")


def _catalogue(site: Site, image: dict[str, Any] | None) -> None:
    if image is None:
        disk = site.root / "blank.img"
        with disk.open("wb") as file:
            file.truncate(1 << 20)
        image = {"name": "guest", "path": str(disk), "format": "raw", "ready_mark": "ready"}
    (site.root / "image.json").write_text(json.dumps(image, indent=1))


def _config(site: Site) -> str:
    user = site.form is not Form.NAMESPACES
    lines = [
        "[server]",
        f"state_dir = {json.dumps(str(site.state))}",
        f"user = {json.dumps(DAEMON_USER)}",
        'log_format = "text"',
        "reconcile_every = 5.0",
        f"[listen.client]\nport = {site.port}",
        "[listen.node]\nport = 0",
        "[listen.guest]\nport = 0",
        "[notification]\nallow_loopback = true",
        f"[image.guest]\nfile = {json.dumps(str(site.root / 'image.json'))}",
    ]
    for name, network in NETWORKS.items():
        lines.append(f"[network.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in network.items() if not (user and key == "gateway")]
    for node in NODES:
        bridges = ", ".join(f'{name} = "{"" if user else bridge(name)}"' for name in NETWORKS)
        lines += [f"[node.{node}]", "memory_mb = 512", "cpus = 2", "disk_mb = 2048", f"networks = {{{bridges}}}"]
        lines.append(f"reach = {{agent = {json.dumps(str(site.agent(node)))}, sudo = {str(not user).lower()}}}")
    return "\n".join(lines) + "\n"

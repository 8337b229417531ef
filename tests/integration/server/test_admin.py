"""What an administrator can do while the daemon runs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from flyinglow.client import Disk, Nic, Part, connect
from flyinglow.nodectl.errors import ConflictError, ExhaustedError, InvalidError, UnknownError
from flyinglow.nodectl.messages import VmSpec, encode
from rigs.daemon import Daemon, environment, one_store
from rigs.unprivileged import USER, wrapped
from rigs.waiting import eventually

BIG = Part(name="big", memory_mb=2000, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))


def node(daemon: Daemon, name: str, **changes: object) -> dict[str, object]:
    """Describe a node that is reached as the first one is."""
    reach = {"channel": "local", "agent": str(daemon.agent("n1"))}
    facts = {"name": name, "memory_mb": 2048, "cpus": 4, "disk_mb": 1024, "networks": {"private": None}, "reach": reach}
    return {**facts, **changes}


@one_store
def test_nodes_are_listed_with_what_is_free(daemon: Daemon) -> None:
    assert daemon.admin("stranger.list") == []
    listed = daemon.admin("node.list")
    assert [entry["name"] for entry in listed] == ["n1", "n2"]
    assert listed[0]["free"] == {"memory_mb": 2048, "cpus": 8, "disk_mb": 20480}


def made_by_hand(daemon: Daemon, name: str, tag: str) -> None:
    """Make a VM on a node as the service's user, who could not read the directories that root would make."""
    argv = [str(daemon.agent(name)), "--json", "create"]
    if os.geteuid() == 0:
        argv = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", "--", *argv]
    spec = json.dumps(encode(VmSpec(tag=tag, name="stray", memory_mb=64, cpus=1)))
    done = subprocess.run(
        wrapped(argv, daemon.root), input=spec, text=True, capture_output=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr


@one_store
def test_a_vm_of_no_workspace_is_shown_until_it_is_destroyed(daemon: Daemon) -> None:
    assert daemon.admin("stranger.list") == []
    made_by_hand(daemon, "n1", "stray001")
    (stranger,) = eventually(lambda: daemon.admin("stranger.list"), 120)
    assert (stranger["node"], stranger["tag"]) == ("n1", "stray001")
    assert 0 < stranger["ends_in"] <= 300
    argv = ["flyinglow", "admin", "strangers", "--state-dir", str(daemon.state)]
    done = subprocess.run(argv, env=environment(), text=True, capture_output=True, check=True, timeout=180)
    assert "stray001" in done.stdout


@one_store
def test_a_node_that_was_added_takes_leases_and_outlives_a_restart(daemon: Daemon) -> None:
    site = connect(daemon.url)
    for name in ("n1", "n2"):
        daemon.admin("node.drain", name=name)
    with pytest.raises(ExhaustedError):
        site.create([BIG], name="big")
    daemon.admin("node.add", **node(daemon, "n3"))
    lease = site.create([BIG], name="big")
    assert lease.whole.wait("Running", timeout=120).node == "n3"
    daemon.stop()
    daemon.start()
    listed = {entry["name"]: entry for entry in daemon.admin("node.list")}
    assert listed["n3"]["free"]["memory_mb"] == 48
    assert listed["n1"]["policy"] == "drain"
    with pytest.raises(ConflictError):
        daemon.admin("node.remove", name="n3")
    lease.whole.destroy()
    daemon.admin("node.activate", name="n1")
    assert site.create([BIG], name="big").whole.wait("Running", timeout=120).node == "n1"


@one_store
def test_a_node_is_updated_and_removed(daemon: Daemon) -> None:
    daemon.admin("node.add", **node(daemon, "n3"))
    daemon.admin("node.update", name="n3", memory_mb=4096)
    assert {entry["name"]: entry["memory_mb"] for entry in daemon.admin("node.list")}["n3"] == 4096
    daemon.admin("node.remove", name="n3")
    assert "n3" not in [entry["name"] for entry in daemon.admin("node.list")]


WRONG: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("node.add", {"name": "n1", "memory_mb": 1, "cpus": 1, "disk_mb": 1}, ConflictError, "node update"),
    ("node.add", {"name": "n9", "memory_mb": -1, "cpus": 1, "disk_mb": 1}, InvalidError, "memory_mb"),
    ("node.add", {"name": "n9", "memory_mb": 1, "cpus": 1}, InvalidError, "disk_mb"),
    ("node.add", {"name": "n9", "colour": "red"}, InvalidError, "colour"),
    (
        "node.add",
        {"name": "n9", "memory_mb": 1, "cpus": 1, "disk_mb": 1, "networks": {"nowhere": "br0"}},
        InvalidError,
        "network.nowhere",
    ),
    (
        "node.add",
        {"name": "n9", "memory_mb": 1, "cpus": 1, "disk_mb": 1, "reach": {"channel": "pigeon"}},
        InvalidError,
        "pigeon",
    ),
    ("node.drain", {"name": "n9"}, UnknownError, "n9"),
    ("node.remove", {}, UnknownError, "None"),
    ("node.paint", {}, InvalidError, "node.list"),
]


@one_store
def test_what_an_administrator_gets_wrong_is_named(daemon: Daemon) -> None:
    """On one service: nothing of it is done."""
    for verb, args, error, said in WRONG:
        with pytest.raises(error, match=said):
            daemon.admin(verb, **args)
    assert [entry["name"] for entry in daemon.admin("node.list")] == ["n1", "n2"]

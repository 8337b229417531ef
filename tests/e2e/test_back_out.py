"""A launch that fails for one member is undone for all: everything free again, and the reason told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, LeaseFailed, Nic, Part, Site, connect
from flyinglow.client.notification import Notification
from flyinglow.client.watch import Watch
from rigs.daemon import Daemon
from rigs.guest import Guest

pytestmark = pytest.mark.xdist_group("back-out")

FAILURES = [
    {"order": "start", "match": "nostart-2", "kind": "transient", "message": "the machine makes no sound"},
    {"order": "start", "match": "broken-2", "kind": "broken", "message": "QEMU ended with status 1"},
    {"order": "create", "match": "full-2", "kind": "exhausted", "message": "no space left on device"},
    {"order": "create", "match": "image-2", "kind": "invalid", "message": "the checksum is another one"},
]
OPTIONS = {"nodectl": {"simulated": {"delays": {"create": 0.2, "start": 0.2}, "failures": FAILURES}}}
Eventually = Callable[..., Any]
Gather = Callable[[Watch], list[Notification]]


def group(name: str, count: int = 3, **changes: Any) -> Part:
    plain: dict[str, Any] = {"memory_mb": 600, "disks": (Disk(image="guest"),), "nics": (Nic(network="private"),)}
    return Part(name=name, count=count, **{**plain, **changes})


def free(daemon: Daemon) -> list[dict[str, int]]:
    return [node["free"] for node in daemon.admin("node.list")]


def first_address(daemon: Daemon, eventually: Eventually) -> str:
    """Lease one workspace and say which address it got; it is given back."""
    one = connect(daemon.url).create([group("probe", 1)], name="probe").whole
    address = one.properties().nics[0].ip
    one.destroy()
    eventually(lambda: daemon.admin("workspace.list") == [])
    assert address is not None
    return address


@pytest.mark.parametrize("rule", FAILURES, ids=lambda rule: rule["match"])
def test_a_member_that_fails_takes_all_with_it(
    shared: Daemon, site: Site, consumer: Consumer, eventually: Eventually, rule: dict[str, str], news_of: Gather
) -> None:
    address = first_address(shared, eventually)
    before = free(shared)
    name, message = rule["match"].removesuffix("-2"), rule["message"]
    lease = site.create([group(name)], name=name)
    news = news_of(consumer.watch(lease.whole))
    last = [each for each in news if each.topic == "state"][-1]
    assert last.state == "Corrupted"
    assert last.census == {"Corrupted": 3}
    assert message in last.reason
    assert rule["match"] in last.reason
    assert message in next(each for each in news if each.topic == "termination").reason
    found = lease.whole.properties()
    assert found.state == "Corrupted"
    assert [member.state for member in found.members] == ["Corrupted"] * 3
    assert all(message in (member.reason or "") for member in found.members)
    with pytest.raises(LeaseFailed):
        lease.whole.wait("Running", timeout=120)
    assert free(shared) == before
    assert [shared.nodectl(node, "list")["vms"] for node in ("n1", "n2")] == [[], []]
    assert first_address(shared, eventually) == address


def test_a_part_that_fails_takes_the_whole_ensemble_with_it(
    shared: Daemon, site: Site, consumer: Consumer, eventually: Eventually, news_of: Gather
) -> None:
    before = free(shared)
    lease = site.create([group("head", 1), group("nostart", 2)], name="osg")
    watch = consumer.watch(lease.resources["head"])
    lease.whole.wait("Corrupted", timeout=120)
    reasons = [each.reason for each in news_of(watch) if each.state == "Corrupted"]
    assert reasons
    assert "nostart-2" in reasons[-1]
    eventually(lambda: free(shared) == before)


def replace_agent(daemon: Daemon, node: str, lines: str) -> str:
    """Put another program in the place of a node's flyinglow-nodectl; return the old one's text."""
    path = daemon.agent(node)
    old = path.read_text()
    fresh = path.with_suffix(".new")
    fresh.write_text(f"#!/bin/sh\n{lines}\n")
    fresh.chmod(0o755)
    fresh.replace(path)
    return old


@pytest.mark.parametrize("behaviour", ["exec cat >/dev/null", "exit 1"], ids=["hangs", "ends"])
def test_a_node_that_does_not_answer(
    daemon_factory: Callable[..., Daemon], consumer: Consumer, eventually: Eventually, behaviour: str, news_of: Gather
) -> None:
    """What is on the other nodes is free at once; what the silent one may hold is free when it has confirmed."""
    patience = "[patience]\ncreate = 4.0\ndestroy = 3.0\ninfo = 3.0\n"
    daemon = daemon_factory(start=False, toml=patience + "[notification]\nallow_loopback = true")
    old = replace_agent(daemon, "n2", behaviour)
    daemon.start()
    site, before = connect(daemon.url), free(daemon)
    lease = site.create([group("wn", 2, memory_mb=1500)], name="wn")
    watch = consumer.watch(lease.whole)
    eventually(lambda: free(daemon)[0] == before[0])
    found = lease.whole.properties()
    assert "n2" in found.reason or "n2" in str([member.reason for member in found.members])
    assert free(daemon)[1]["memory_mb"] == 548  # it may have made the VM: nobody knows
    replace_agent(daemon, "n2", old.partition("\n")[2])
    lease.whole.wait("Corrupted", timeout=120)
    assert free(daemon) == before
    last = [each for each in news_of(watch) if each.topic == "state"][-1]
    assert last.state == "Corrupted"
    assert "n2" in last.reason
    again = site.create([group("wn", 2, memory_mb=1500)], name="wn").whole
    assert again.wait("Running", timeout=120).members[0].nics[0].ip == "10.73.0.20"


def test_a_hypervisor_that_does_not_start(
    daemon_factory: Callable[..., Daemon],
    consumer: Consumer,
    guest_image: Guest,
    eventually: Eventually,
    news_of: Gather,
) -> None:
    daemon = daemon_factory(start=False, driver="qemu", image=guest_image.entry, nodectl={"qemu": "/bin/false"})
    daemon.start()
    site, before = connect(daemon.url), free(daemon)
    lease = site.create([group("wn", 2, memory_mb=128)], name="wn")
    watch = consumer.watch(lease.whole)
    found = lease.whole.wait("Corrupted", timeout=120)
    assert "wn-" in found.reason
    assert [each.reason for each in news_of(watch) if each.state == "Corrupted"][-1] == found.reason
    assert free(daemon) == before
    assert first_address(daemon, eventually) == "10.73.0.20"
    assert [daemon.nodectl(node, "list")["vms"] for node in ("n1", "n2")] == [[], []]


def user_namespaces() -> bool:
    """Say whether an unprivileged user may mount in namespaces of its own here."""
    words = [
        "unshare",
        "--user",
        "--map-current-user",
        "--keep-caps",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid", "nobody", "--clear-groups", *words]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kept_mb", [0, 64], ids=["no byte left", "too little left"])
def test_a_disk_that_is_full(
    daemon_factory: Callable[..., Daemon], consumer: Consumer, guest_image: Guest, kept_mb: int, news_of: Gather
) -> None:
    """The node's control program works on a file system that has no room, which the kernel itself says."""
    if not user_namespaces():
        pytest.skip("an unprivileged user may not mount a small file system here")
    daemon = daemon_factory(
        start=False, driver="qemu", image=guest_image.entry, nodectl={"minimum_free_disk_mb": kept_mb}
    )
    for node in ("n1", "n2"):
        shrink(daemon, node)
    daemon.start()
    site, before = connect(daemon.url), free(daemon)
    lease = site.create([group("wn", 2, memory_mb=128)], name="wn")
    watch = consumer.watch(lease.whole)
    found = lease.whole.wait("Corrupted", timeout=120)
    assert free(daemon) == before
    reasons = {member.reason for member in found.members}
    assert len(reasons) == 1
    assert "left" in str(reasons)
    assert [each.reason for each in news_of(watch) if each.state == "Corrupted"]


def shrink(daemon: Daemon, node: str) -> None:
    """Have a node's control program keep its state on a file system of its own, of a few kilobytes."""
    program = daemon.agent(node)
    shebang, line = program.read_text().splitlines()
    state = daemon.node_state(node)
    mount = f'mount -t tmpfs -o size=64k,nr_inodes=200 none "{state}"'
    fill = f'dd if=/dev/zero of="{state}/fill" bs=4k count=7 2>/dev/null'
    inner = f"{mount} && {fill}; {line}"
    script = Path(program.parent / "inner.sh")
    script.write_text(f"{shebang}\n{inner}\n")
    script.chmod(0o755)
    program.write_text(
        f'{shebang}\nmkdir -p "{state}"\nexec unshare --user --map-current-user --keep-caps --mount "{script}" "$@"\n'
    )

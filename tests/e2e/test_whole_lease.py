"""One lease with all that the paper asks of a node at once, told by its guests: a cluster on two nodes behind SSH.

Two network namespaces with an sshd of their own are the nodes. Both members have a shared base image, a partition that
the site's server has and the node keeps, and a blank one; two NICs on two networks, of both families; a name, a key,
files and roles. One of them pretends to be somebody else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, File, Nic, Part, Resource, connect
from rigs import doorway
from rigs.daemon import NODES, Daemon
from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space, link, new_space
from rigs.pretending import PUBLIC, on_bridges, tricks

__all__ = ["new_space"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.alone,
    pytest.mark.skipif(shutil.which("sshd", path="/usr/sbin:/usr/bin") is None, reason="sshd is not installed"),
]

Eventually = Callable[..., Any]
SECONDS = 240.0  # emulated, on a machine that has other work
IMAGE_PORT = 8000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR user@home"
KNOWN = "measured in the year 1999"
PRIVATE = {"cidr6": "fd00:73::/64"}
PROOF = b"""#!/bin/sh
exec > /dev/console 2>&1
echo "PROOF data $(cat /data/known)"
(echo changed > /data/known) 2> /dev/null && echo 'PROOF data can be changed'
echo changed > /copy/known && sync && echo "PROOF work $(cat /copy/known), data $(cat /data/known)"
echo kept > /kept/new && sync && echo "PROOF kept $(cat /kept/new) $(awk '$2 == "/kept" {print $3}' /proc/mounts)"
echo "PROOF name $(hostname), bad is $(awk '$NF == "bad" {print $1}' /etc/hosts)"
"""
SSHD = """ListenAddress {address}
Port 22
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv SHLVL=5
"""


def address_of(node: str) -> str:
    """Return where a node's sshd listens, on the private network's bridge."""
    return f"10.73.0.{NODES.index(node) + 1}"


class FarDaemon(Daemon):
    """A service whose nodes are namespaces, which it reaches through their own sshd by a key for the agent alone."""

    def __init__(self, root: Path, spaces: dict[str, Space], partition: Path, **options: Any) -> None:
        self._spaces, self._partition = spaces, partition
        super().__init__(root, options=options)

    def _write_node(self, node: str, extra: Any) -> None:
        source = f"http://{address_of('n1')}:{IMAGE_PORT}/"
        more = {"images": [str(IMAGES)], "image_sources": [source], "bridges": ["pub", "priv"], "watch_seconds": 0.2}
        super()._write_node(node, {**more, **extra})
        folder = self.root / node
        for name in ("host", "identity"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", node, "-f", str(folder / name)]
            subprocess.run(words, check=True, timeout=SECONDS)
        program = self.agent(node).rename(folder / "inside")
        restrict = f'restrict,command="{program} agent --stdio" '
        (folder / "authorized").write_text(restrict + (folder / "identity.pub").read_text())
        (folder / "known").write_text(f"{address_of(node)} {(folder / 'host.pub').read_text()}")
        (folder / "sshd_config").write_text(SSHD.format(address=address_of(node), folder=folder))
        inside = " ".join(self._spaces[node].argv(str(program)))
        self.agent(node).write_text(f'#!/bin/sh\nexec {inside} "$@"\n')
        self.agent(node).chmod(0o755)

    def _hand_over(self) -> None:
        super()._hand_over()
        for node in NODES:
            for name in ("host", "inside", "authorized"):
                shutil.chown(self.root / node / name, "root")

    def _toml(self) -> str:
        text = on_bridges(super()._toml(), {"public": PUBLIC, "private": PRIVATE})
        for node in NODES:
            folder = self.root / node
            reach = {"address": address_of(node), "user": "root", "agent": "/the/key/names/its/own"}
            reach |= {"identity": str(folder / "identity"), "known_hosts": str(folder / "known")}
            far = ", ".join(f"{key} = {json.dumps(value)}" for key, value in reach.items())
            text = text.replace(f'reach = {{agent = "{self.agent(node)}"}}', f'channel = "ssh"\nreach = {{{far}}}')
        return f'{text}\n[backend.options]\nssh = "{self.root}/ssh"\n{self._images()}'

    def _images(self) -> str:
        (self.root / "seeded.json").write_text(json.dumps({**self._options["image"], "context": "seed"}))
        digest = hashlib.sha256(self._partition.read_bytes()).hexdigest()
        source = f"http://{address_of('n1')}:{IMAGE_PORT}/{self._partition.name}"
        seeded = f'[image.seeded]\nfile = "{self.root}/seeded.json"\n'
        return f'{seeded}[image.reference]\npath = "{source}"\nsha256 = "{digest}"\nsize_mb = 8\npartition = true\n'


def _serve(stack: ExitStack, space: Space, words: list[str], ready: str, **pipes: Any) -> None:
    """Run a server in a namespace until the stack is left; returns when it has said that it is ready."""
    server = subprocess.Popen(space.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **pipes)
    stack.callback(server.communicate)
    stack.callback(server.kill)
    assert server.stdout is not None
    assert any(ready in line for line in server.stdout), f"{words} did not start"


def _open(stack: ExitStack, daemon: FarDaemon, node: str, space: Space) -> None:
    """Start a node's sshd, and the door through which the service's ssh gets to it."""
    Path("/run/sshd").mkdir(exist_ok=True)  # where the Debian server insists on separating its privileges
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    _serve(stack, space, [str(sshd), "-D", "-e", "-f", str(daemon.root / node / "sshd_config")], "Server listening")
    words = [sys.executable, doorway.__file__, "listen", str(daemon.root / address_of(node)), address_of(node), "22"]
    _serve(stack, space, words, "open")


@pytest.fixture
def far(new_space: Callable[[str], Space], guest_image: Guest) -> Iterator[tuple[FarDaemon, dict[str, Space], Path]]:
    """Give a running service, its nodes' namespaces, and the log of the server that has the partition."""
    spaces = {name: _space(new_space, name, number) for number, name in enumerate(NODES, 1)}
    for bridge in ("pub", "priv"):
        link(spaces["n1"], spaces["n2"], bridge)
    with tempfile.TemporaryDirectory(prefix="fl") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        daemon = FarDaemon(folder / "site", spaces, _partition(folder), driver="qemu", image=guest_image.entry)
        program = daemon.root / "ssh"
        enter = f"{sys.executable} {doorway.__file__} enter {daemon.root}/%h"
        program.write_text(f'#!/bin/sh\nexec ssh -o ProxyCommand="{enter}" "$@"\n')
        program.chmod(0o755)
        for node, space in spaces.items():
            _open(stack, daemon, node, space)
        log = folder / "served.log"
        words = [sys.executable, "-u", "-m", "http.server", str(IMAGE_PORT), "--bind", address_of("n1")]
        with log.open("w") as out:
            files = subprocess.Popen(spaces["n1"].argv(*words), stdout=out, stderr=out, cwd=folder / "served")
        stack.callback(files.wait)
        stack.callback(files.kill)
        stack.callback(daemon.clean_up)
        daemon.start()
        yield daemon, spaces, log
        daemon.stop()


def _space(new_space: Callable[[str], Space], name: str, number: int) -> Space:
    space = new_space(name)
    for bridge, address, address6 in (
        ("pub", f"198.51.100.{number}/24", f"fd00:51::{number}/64"),
        ("priv", f"10.73.0.{number}/24", f"fd00:73::{number}/64"),
    ):
        space.bridge(bridge, address)
        space.run("ip", "address", "add", address6, "dev", bridge, "nodad")
    return space


def _partition(folder: Path) -> Path:
    tree, served = folder / "tree", folder / "served"
    tree.mkdir()
    served.mkdir()
    (tree / "known").write_text(f"{KNOWN}\n")
    path = served / "reference.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, path, "8M"], check=True, timeout=SECONDS)
    return path


def _says(resource: Resource, *lines: str) -> Callable[[], list[str]]:
    def heard() -> list[str]:
        said = resource.console(max=1 << 20).data.decode(errors="replace").splitlines()
        return said if set(lines) <= set(said) else []

    return heard


def _request() -> list[Part]:
    nics = (Nic(network="public"), Nic(network="private"))
    disks = (
        Disk(name="data", partition="reference", mount="/data", read_only=True),
        Disk(name="scratch", blank_mb=32, mount="/kept"),
    )
    work = Disk(name="work", partition="reference", mount="/copy")
    plain: dict[str, Any] = {"memory_mb": 128, "nics": nics, "keys": (KEY,)}
    proof = File(path="/etc/flyinglow/roles/compute-element", content=PROOF, mode="755")
    settings = File(path="/etc/app settings.conf", content=b"one=1\n", mode="640")
    pretend = File(path="/etc/flyinglow/roles/pretender", content=tricks(pings=1), mode="755")
    return [
        Part(
            name="ce",
            disks=(Disk(image="guest"), *disks, work),
            provides=("compute-element",),
            requires=("pretender",),
            files=(proof, settings),
            user_data=b"hello",
            **plain,
        ),
        Part(name="bad", disks=(Disk(image="seeded"), *disks), provides=("pretender",), files=(pretend,), **plain),
    ]


def test_a_cluster_has_its_disks_networks_and_context_and_the_one_that_pretends_is_stopped_and_told_of(
    far: tuple[FarDaemon, dict[str, Space], Path], consumer: Consumer, eventually: Eventually
) -> None:
    daemon, spaces, log = far
    watch = consumer.expect()
    whole = connect(daemon.url).create(_request(), name="all", duration=3600, watch=watch).whole
    members = {member.name: member for member in whole.wait("Running", timeout=SECONDS).members}
    assert {member.node for member in members.values()} == set(NODES)
    ce, bad = members["ce"].resource, members["bad"].resource
    said = eventually(_says(ce, *_expected(ce, bad)), SECONDS)
    assert not [line for line in said if line.startswith("PROOF data can")]
    disks = [line.split() for line in said if line.startswith("GUEST-DISK")]
    assert [(words[1], *words[2:5], words[-1]) for words in disks] == [
        ("data", "ext4", "/data", "ro", "ok"),
        ("scratch", "ext4", "/kept", "rw", "ok"),
        ("work", "ext4", "/copy", "rw", "ok"),
    ]
    assert log.read_text().count('"GET /reference.ext4') == len(NODES)  # once for each node's three disks

    stopped = ("TRICK 198.51.100.99 stopped", "TRICK fd00:51::99 stopped")
    eventually(_says(bad, *_addresses(bad), *stopped, "GUEST-CONTEXT from=volume"), SECONDS)
    for one, other, name in ((ce, bad, "bad"), (bad, ce, "ce")):  # honest traffic flows, also of the one that pretends
        nics = other.properties().nics
        eventually(_says(one, *(f"GUEST-PEER {name} {at} ok" for nic in nics for at in (nic.ip, nic.ip6))), SECONDS)
    _is_told_of(daemon, bad, str(members["bad"].node), eventually)
    assert not any(nic.dropped for nic in ce.properties().nics)
    while (news := watch.queue.get(timeout=SECONDS)) is not None and "was stopped" not in news.reason:
        pass
    assert news is not None
    assert (news.name, news.topic) == ("bad", "networking")

    whole.destroy()
    eventually(lambda: all(node["free"]["memory_mb"] == 200 for node in daemon.admin("node.list")), SECONDS)
    for node, space in spaces.items():
        assert [name for name in space.interfaces() if name.startswith("fl")] == []
        assert space.run("nft", "list", "tables") == ""
        assert list((daemon.node_state(node) / "vms").iterdir()) == []


def _addresses(one: Resource) -> list[str]:
    """Return what a guest says of its NICs when it got by DHCP what the service leased it."""
    lines = []
    for number, nic in enumerate(one.properties().nics):
        assert nic.delivery == "dhcp"
        lines += [f"GUEST-IP eth{number} {nic.ip}/24 mac={nic.mac}", f"GUEST-IP6 eth{number} {nic.ip6}/64"]
        lines += [f"GUEST-NET eth{number} dhcp"]
    assert len(lines) == 6
    return [*lines, "GUEST-ROUTE default via 198.51.100.1 dev eth0 metric 100"]


def _expected(ce: Resource, bad: Resource) -> list[str]:
    hostname = ce.properties().nics[0].hostname
    files = ((b"one=1\n", "/etc/app settings.conf 640"), (PROOF, "/etc/flyinglow/roles/compute-element 755"))
    nics = bad.properties().nics
    theirs = ",".join(str(address) for address in (*(nic.ip for nic in nics), *(nic.ip6 for nic in nics)))
    return [
        *_addresses(ce),
        f"GUEST-HOSTNAME {hostname}",
        "GUEST-CONTEXT from=fw_cfg",
        "GUEST-USERDATA bytes=5",
        "GUEST-KEY 1",
        *(f"GUEST-FILE {name} {hashlib.sha256(content).hexdigest()}" for content, name in files),
        "GUEST-ROLE provides compute-element ok",
        f"GUEST-ROLE requires pretender bad {theirs}",
        f"PROOF data {KNOWN}",
        f"PROOF work changed, data {KNOWN}",
        "PROOF kept kept ext4",
        f"PROOF name {hostname}, bad is {nics[0].ip}",
    ]


def _is_told_of(daemon: FarDaemon, bad: Resource, node: str, eventually: Eventually) -> None:
    """See what was stopped counted, in the administrator's list and in the lessee's own properties."""
    (alarm,) = eventually(lambda: daemon.admin("alarm.list"), SECONDS)
    assert (alarm["workspace"], alarm["node"]) == ("bad", node)
    assert alarm["counts"]
    words = ["admin", "alarms", "--state-dir", str(daemon.state), "--json"]
    argv = [sys.executable, "-m", "flyinglow.cli", *words]
    shown = subprocess.run(argv, check=True, capture_output=True, timeout=SECONDS)
    assert [one["tag"] for one in json.loads(shown.stdout)] == [alarm["tag"]]
    stopped = eventually(lambda: [nic for nic in bad.properties().nics if nic.dropped], SECONDS)
    assert {nic.network for nic in stopped} == {"public"}

"""A private cluster whose nodes are emulated machines that really run Xen, with a real Slurm on them.

The head is the one of the demo's private Slurm. Each node is a QEMU on the head's bridges, and lives in the head's own
namespaces: with the head, everything is gone. Nodes are spoken to by ssh over connections that are kept.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.furnishing import address as address_of
from flyinglow.cli.demo.slurm_world import BRIDGES, USERS, SlurmWorld
from flyinglow.cli.demo.spaces import PATH, Inside, Space
from flyinglow.nodectl.errors import BrokenError
from rigs.xen.image import NodeImage, node_image, run

MEMORY_MB = 1024  # of the machine, which Xen divides
DOMAIN_0_MB = 700
BOOT_SECONDS = 280.0
USER = "lease"
READY = b"NODE-READY"
MUNGED = "--pid-file=/run/munged.pid --log-file=/var/log/munged.log --seed-file=/run/munge.seed >/dev/null 2>&1"
CONFIG = """Host node*
    User root
    IdentityFile {root}/id
    IdentitiesOnly yes
    UserKnownHostsFile {root}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    LogLevel ERROR
    ControlMaster auto
    ControlPath /run/ssh-%r@%n
    ControlPersist 900
    ConnectTimeout 30
"""


class XenNode:
    """One emulated machine; what can be done with a space of the demo can be done with it."""

    def __init__(self, name: str, head: Space, argv: Sequence[str], folder: Path) -> None:
        self.name, self.folder = name, folder
        self._head = head
        self._config = folder.parent.parent / "ssh_config"
        with (folder / "qemu.log").open("ab") as output:
            self._machine = head.spawn(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_up(self, seconds: float) -> None:
        """Wait until Xen, sshd and Slurm's daemon run. Raises BrokenError with the end of its console."""
        deadline, console = time.monotonic() + seconds, self.folder / "console.log"
        while time.monotonic() < deadline and self._machine.poll() is None:
            up = console.exists() and READY in console.read_bytes()
            if up and self.run(["xl", "info"], check=False).returncode == 0:
                return
            time.sleep(0.3)
        said = [
            path.read_text(errors="replace")[-1500:] for path in (console, self.folder / "qemu.log") if path.exists()
        ]
        raise BrokenError(f"{self.name} did not come up: {said}")

    def argv(self, words: Sequence[str], user: str = "root") -> list[str]:
        """Return the words that run a program on it."""
        return self._head.argv(["ssh", "-F", str(self._config), f"{user}@{self.name}", shlex.join(words)])

    def run(
        self,
        words: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        text: str | bytes = "",
        seconds: float = 300,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it. Raises BrokenError when it fails, if checked."""
        given = text.encode() if isinstance(text, str) else text
        assign = [f"{name}={value}" for name, value in {"PATH": PATH, **(env or {})}.items()]
        argv = self.argv(["env", *assign, *words], user or "root")
        raw = subprocess.run(argv, input=given, capture_output=True, timeout=seconds, check=False, cwd="/")
        texts = [part.decode(errors="replace") for part in (raw.stdout, raw.stderr)]
        if check and raw.returncode:
            raise BrokenError(f"{self.name}: {' '.join(words)} failed: {(texts[1] or texts[0]).strip()}")
        return subprocess.CompletedProcess(list(words), raw.returncode, *texts)

    def put(self, source: Path, target: str, mode: int = 0o644) -> None:
        """Copy a file to it."""
        words = f"cat > {target}.new && chmod {mode:o} {target}.new && mv {target}.new {target}"
        self.run(["sh", "-c", words], text=source.read_bytes())

    def close(self) -> None:
        """Pull the plug."""
        self._machine.kill()
        self._machine.wait(20)


class XenWorld(SlurmWorld):
    """The cluster: a head, and nodes that run Xen."""

    def __init__(
        self,
        directory: Path,
        image: NodeImage,
        *,
        machine_mb: int = MEMORY_MB,
        domain_0_mb: int = DOMAIN_0_MB,
        **options: Any,
    ) -> None:
        """Prepare machines of this size, most of it domain 0's; ``options`` are those of ``SlurmWorld``."""
        super().__init__(directory, cpus=2, memory_mb=domain_0_mb, down_after=120, **options)
        self._machine_mb, self.domain_0_mb = machine_mb, domain_0_mb
        self._image = image
        self._supplied: set[str] = set()  # nodes that have the images

    def up(self, seconds: float = BOOT_SECONDS) -> None:
        """Start everything and wait until all nodes are idle."""
        super().up(seconds)

    def node(self, name: str) -> Any:
        """Return a node."""
        return super().node(name)

    def address(self, name: str) -> str:
        """Return a node's address in the cluster's network."""
        return address_of(self.names.index(name) + 1)

    def deploy(self, images: Path) -> None:
        """Bring to every node what a site brings there: the program, its configuration, images."""
        for name in self.names:
            node = self.node(name)
            node.run(["mkdir", "-p", "/etc/flyinglow", "/usr/local/sbin", "/srv/flyinglow/images"])
            node.put(self.sbin / "flyinglow-nodectl", "/usr/local/sbin/flyinglow-nodectl", 0o755)
            node.put(self.etc(name) / "nodectl.json", "/etc/flyinglow/nodectl.json")
            for file in ("kernel", "initrd", "root.ext4"):
                if name in self._supplied:
                    break
                node.put(images / file, f"/srv/flyinglow/images/{file}")
            self._supplied.add(name)

    def _lay_out(self) -> None:
        super()._lay_out()
        root = self.directory
        for name in ("id", *(f"{node}.key" for node in self.names)):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name))
        keys = [(name, (root / f"{name}.key.pub").read_text().split()[:2]) for name in self.names]
        lines = [f"{name},{self.address(name)} {' '.join(key)}\n" for name, key in keys]
        (root / "known_hosts").write_text("".join(lines))
        (root / "ssh_config").write_text(CONFIG.format(root=root))
        for name in self.names:
            self._make_seed(name)
            disk = root / "nodes" / name / "disk.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self._image.disk), str(disk))

    def _make_seed(self, name: str) -> None:
        """Make the volume that tells a node who it is."""
        root, number = self.directory, self.names.index(name) + 1
        seed = root / "nodes" / name / "seed"
        networks = " ".join(f"{network}={BRIDGES[network]}.{number + 1}/24" for network in self._networks)
        conf = f"NODE_NAME={name}\nNODE_ADDRESS={self.address(name)}/24\nNODE_GATEWAY={HEAD_ADDRESS}\n"
        files = {
            "etc/ssh/ssh_host_ed25519_key": ((root / f"{name}.key").read_bytes(), 0o600),
            "root/.ssh/authorized_keys": ((root / "id.pub").read_bytes(), 0o600),
            "etc/node/conf": (f'{conf}NODE_NETWORKS="{networks}"\n'.encode(), 0o644),
            "etc/node/boot": (self._boot(name).encode(), 0o755),
            "etc/hosts": ((root / "etc/hosts").read_bytes(), 0o644),
            "etc/sudoers": ((root / "etc/sudoers").read_bytes(), 0o440),
            f"{root}/slurm.conf".lstrip("/"): ((root / "slurm.conf").read_bytes(), 0o644),
            f"{root}/cgroup.conf".lstrip("/"): ((root / "cgroup.conf").read_bytes(), 0o644),
            f"{root}/munge/key".lstrip("/"): ((root / "munge/key").read_bytes(), 0o400),
        }
        for place, (data, mode) in files.items():
            (seed / place).parent.mkdir(parents=True, exist_ok=True)
            (seed / place).write_bytes(data)
            (seed / place).chmod(mode)
        (seed / "root").chmod(0o700)
        (seed / "root/.ssh").chmod(0o700)
        features = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0"]
        run("mke2fs", "-q", "-t", "ext4", *features, "-d", str(seed), str(seed.with_suffix(".ext4")), "2M")

    def _boot(self, name: str) -> str:
        """Return what a node does at the end of its boot: it joins the batch scheduler."""
        root = self.directory
        lines = [
            "#!/bin/sh",
            f"mkdir -p {root}/spool/{name} {root}/run {root}/log {root}/jobs",
            f"chmod 755 {root} {root}/munge; chmod 1777 {root}/jobs",
            f"munged --force --key-file={root}/munge/key --socket={root}/munge/sock {MUNGED}",
            f"SLURM_CONF={root}/slurm.conf slurmd -N {name} </dev/null >/var/log/slurmd.out 2>&1",
        ]
        return "\n".join(lines) + "\n"

    def _furnish_node(self, name: str) -> None:
        folder = self.directory / "nodes" / name
        self._nodes[name] = XenNode(name, self.head, self._machine(name, folder), folder)  # type: ignore[assignment]

    def _machine(self, name: str, folder: Path) -> list[str]:
        """Return the words that start an emulated machine, after they have made its wires."""
        number, image, own = self.names.index(name) + 1, self._image, self.domain_0_mb
        arguments = "console=hvc0 quiet panic=-1 no_timer_check net.ifnames=0"
        words = [
            *("qemu-system-x86_64", "-name", name, "-accel", "tcg,tb-size=128", "-cpu", "qemu64", "-M", "q35"),
            *("-m", str(self._machine_mb), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{folder}/console.log", "-kernel", str(image.xen)),
            *("-append", f"console=com1 com1=115200 dom0_mem={own}M,max:{own}M dom0_max_vcpus=1"),
            *("-initrd", f"{image.kernel} {arguments},{image.initrd}"),
            *("-drive", f"file={folder}/disk.qcow2,if=virtio,cache=unsafe"),
            *("-drive", f"file={folder}/seed.ext4,if=virtio,format=raw,readonly=on"),
        ]
        lines = []
        for index, bridge in enumerate(("cluster", *(f"br-{network}" for network in self._networks))):
            tap = f"x{number}.{index}"
            lines.append(f"ip tuntap add dev {tap} mode tap && ip link set {tap} master {bridge} up")
            words += ["-netdev", f"tap,id=n{index},ifname={tap},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev=n{index},romfile=,mac=02:fc:00:0{index}:00:{number:02x}"]
        return ["sh", "-c", f"{' && '.join(lines)} && exec {shlex.join(words)}"]


@contextlib.contextmanager
def xen_world(nodes: int = 2, *, sudoers: Sequence[str] = (), **options: Any) -> Iterator[XenWorld]:
    """Run a cluster of Xen nodes in a directory of its own; skips the test where it cannot run."""
    image = node_image(USER, USERS[USER])
    directory = Path(tempfile.mkdtemp(prefix="fl-xen-"))
    directory.chmod(0o755)
    try:
        with XenWorld(directory, image, nodes=nodes, sudoers=sudoers, **options) as world:
            yield world
    finally:
        shutil.rmtree(directory)


__all__ = ["DOMAIN_0_MB", "Inside", "XenNode", "XenWorld", "xen_world"]

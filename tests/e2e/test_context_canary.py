"""What a lessee hands to his guest reaches it, and shows in no process list and no log of the service or the node."""

from __future__ import annotations

import base64
import hashlib
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Disk, File, Nic, Part, connect
from rigs.daemon import Daemon
from rigs.guest import Guest

pytestmark = pytest.mark.xdist_group("real-guest")

BOOT_SECONDS = 180  # emulated, on a machine that has other work
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR user@home"
LOOK_SECONDS = 0.03


class Lookout:
    """Looks for words in the argument lists and environments of all processes, again and again."""

    def __init__(self, words: tuple[bytes, ...]) -> None:
        self._words = words
        self.found: set[str] = set()
        self.looks = 0

    def look(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            for name in (path, path.with_name("environ")):
                try:
                    text = name.read_bytes()
                except OSError:  # it has ended, or is not ours to see
                    continue
                if any(word in text for word in self._words):
                    self.found.add(text[:200].decode(errors="replace"))
        self.looks += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        end = threading.Event()

        def watch() -> None:
            while not end.wait(LOOK_SECONDS):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def holders(root: Path, words: tuple[bytes, ...]) -> set[Path]:
    """Return the files below ``root`` that have one of the words."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(root) for path in files if any(word in path.read_bytes() for word in words)}


def test_files_keys_and_user_data_reach_the_guest_and_nobody_else(
    daemon_factory: Callable[..., Daemon], guest_image: Guest, eventually: Callable[..., Any]
) -> None:
    words = tuple(f"canary-{secrets.token_hex(9)}".encode() for _ in range(2))
    forms = (*words, *map(base64.b64encode, words))
    daemon = daemon_factory(driver="qemu", image=guest_image.entry)
    part = Part(
        name="ce",
        memory_mb=128,
        disks=(Disk(image="guest"),),
        nics=(Nic(network="private"),),
        keys=(KEY,),
        provides=("compute-element",),
        user_data=words[0],
        files=(File(path="/etc/app secret.conf", content=words[1], mode="640"),),
    )
    lookout = Lookout(forms)
    with lookout.watching():
        one = connect(daemon.url).create([part], name="ce", duration=1200).whole
        one.wait("Running", timeout=BOOT_SECONDS)
        console = eventually(lambda: _ready(one.console(max=1 << 20).data), BOOT_SECONDS)
    assert lookout.looks > 10
    assert lookout.found == set()
    assert f"GUEST-FILE /etc/app secret.conf 640 {hashlib.sha256(words[1]).hexdigest()}" in console
    assert f"GUEST-USERDATA bytes={len(words[0])}" in console
    assert {"GUEST-KEY 1", "GUEST-HOSTS 1", "GUEST-ROLE provides compute-element none"} <= set(console)
    assert not any(word.decode() in line for word in words for line in console)

    (vm,) = (path for node in ("n1", "n2") for path in (daemon.node_state(node) / "vms").glob("*"))
    own = vm.relative_to(daemon.root)
    found = holders(daemon.root, forms)
    assert {own / "spec.json", own / "user-data", own / "files.tar.00"} <= found
    elsewhere = {path for path in found if own not in path.parents}
    assert {path.parts[0] for path in elsewhere} <= {"service"}, elsewhere  # the store, which only its owner reads
    assert not {path for path in elsewhere if path.suffix in {".log", ".json", ".toml"}}
    assert stat.S_IMODE(vm.stat().st_mode) == stat.S_IRWXU
    assert not daemon.state.stat().st_mode & stat.S_IRWXO
    assert daemon.log.stat().st_size > 0
    one.destroy()
    eventually(lambda: not vm.exists(), 60)
    assert not {path for path in holders(daemon.root, forms) if path.parts[0] != "service"}


def _ready(data: bytes) -> list[str] | None:
    lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
    return lines if any(line.startswith("GUEST-READY") for line in lines) else None

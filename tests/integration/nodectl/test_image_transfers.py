"""Images that lie on a real web server: fetched once, resumed, verified, bounded, and never from anywhere else."""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import DeniedError, ExhaustedError, FlyingLowError, InvalidError, TransientError
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.images.disks import Images, disk_files
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir
from rigs.image_server import ImageServer, image_server

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 3  # 3 MiB
DIGEST = hashlib.sha256(DATA).hexdigest()
PROGRAM = """
import sys
from flyinglow.nodectl import config
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir
settings = config.build({"state": sys.argv[1], "run": sys.argv[1] + "/run", "image_sources": [sys.argv[2]]})
state = StateDir(settings.state, settings.run)
state.prepare()
vm = state.vm(sys.argv[4])
spec = VmSpec(sys.argv[4], "x", 96, 1, disks=(DiskSpec("root", source=sys.argv[2], sha256=sys.argv[3]),))
vm.create(spec)
Images(settings).prepare(vm, spec)
"""
FULL = """
import os, sys
from flyinglow.nodectl import config, tools
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir
plain = {"state": sys.argv[1], "run": sys.argv[1] + "/run", "image_sources": [sys.argv[2]], "minimum_free_disk_mb": 0}
settings = config.build(plain)
state = StateDir(settings.state, settings.run)
state.prepare()
vm = state.vm("a1")
spec = VmSpec("a1", "x", 96, 1, disks=(DiskSpec("root", source=sys.argv[2], sha256=sys.argv[3]),))
vm.create(spec)
seen, real = os.statvfs, os.statvfs
for lie in (False, True):
    if lie:
        os.statvfs = lambda path: real("/")
    try:
        with tools.os_errors("a1"):
            Images(settings).prepare(vm, spec)
    except FlyingLowError as error:
        words = next(words for words in ("2 MiB more", "no space left", "") if words in error.message)
        print(type(error).__name__, words)
"""

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ImageServer]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "base.raw").write_bytes(DATA)
    with image_server(folder) as server:
        yield server


class World:
    """A node's disks, beside a server of images."""

    def __init__(self, folder: Path, site: ImageServer) -> None:
        self.folder = folder
        self.site = site
        self.state = StateDir(folder / "state", folder / "run")
        self.state.prepare()
        self.cache = folder / "state/cache"

    def images(self, **settings: Any) -> Images:
        """Return the disks of a node that is configured so."""
        data = {"state": str(self.state.path), "run": str(self.state.run), "image_sources": [self.site.url("")]}
        return Images(config.build({**data, "image_timeout": 5, **settings}))

    def disk(self, **changes: Any) -> DiskSpec:
        """Return the disk that is usually ordered."""
        return DiskSpec(**{"name": "root", "source": self.site.url("base.raw"), "sha256": DIGEST, **changes})

    def vm(self, tag: str, *disks: DiskSpec) -> tuple[VmDir, VmSpec]:
        """Return a VM's directory and what it is made from."""
        spec = VmSpec(tag, "ce", 96, 1, disks=disks or (self.disk(),))
        vm = self.state.vm(tag)
        vm.create(spec)
        return vm, spec


@pytest.fixture
def world(tmp_path: Path, site: ImageServer) -> World:
    return World(tmp_path, site)


def test_an_image_is_fetched_once_and_every_vm_has_an_overlay_on_it(world: World) -> None:
    images = world.images()
    for tag in ("a1", "a2"):
        images.prepare(*world.vm(tag))
    assert world.site.gets() == 1
    root = disk_files(*world.vm("a1"))[0]
    assert (root.path.name, root.format) == ("disk0.qcow2", "qcow2")
    out = world.folder / "out.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", root.path, out], check=True)
    assert out.read_bytes() == DATA
    assert (world.cache / DIGEST).stat().st_nlink == 3
    world.state.vm("a1").remove()
    assert (world.cache / DIGEST).stat().st_nlink == 2


def test_a_cached_partition_is_used_as_it_is_when_it_is_read_only(world: World) -> None:
    vm, spec = world.vm("a1", world.disk(read_only=True))
    world.images().prepare(vm, spec)
    found = disk_files(vm, spec)[0]
    assert (found.format, found.read_only, found.path.read_bytes()) == ("raw", True, DATA)
    assert found.path.stat().st_ino == (world.cache / DIGEST).stat().st_ino


def test_many_vms_at_once_cause_one_transfer(world: World) -> None:
    world.site.gate.clear()
    images, failures = [world.images() for _ in range(6)], []

    def make(number: int) -> None:
        try:
            images[number].prepare(*world.vm(f"a{number}"))
        except FlyingLowError as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    _until(lambda: world.site.gets() == 1)
    world.site.gate.set()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert world.site.gets() == 1
    assert all((world.state.vm(f"a{n}").path / "disk0.qcow2").is_file() for n in range(6))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_broke_off_goes_on_where_the_server_can(world: World, ranges: bool) -> None:
    world.site.cut_after, world.site.ranges = MIB, ranges
    if ranges:
        world.images().prepare(*world.vm("a1"))  # each try gets further
        assert [asked for _, _, asked in world.site.asked] == [None, f"bytes={MIB}-", f"bytes={2 * MIB}-"]
    else:
        with pytest.raises(TransientError, match=f"broke off after {MIB} of {3 * MIB} bytes"):
            world.images(image_tries=2).prepare(*world.vm("a1"))
        world.site.cut_after = None
        world.images().prepare(*world.vm("a2"))
    assert (world.cache / DIGEST).read_bytes() == DATA


def test_a_part_of_another_file_is_thrown_away(world: World) -> None:
    world.cache.mkdir()
    (world.cache / f"{DIGEST}.part").write_bytes(b"other" * 1000)
    world.images().prepare(*world.vm("a1"))
    assert [asked for _, _, asked in world.site.asked] == ["bytes=5000-", None]
    (world.cache / f"{'0' * 64}.part").write_bytes(DATA)
    with pytest.raises(InvalidError, match="has checksum"):
        world.images().prepare(*world.vm("a2", world.disk(sha256="0" * 64)))
    assert [path.name for path in world.cache.iterdir()] == [DIGEST]


def test_a_program_that_is_killed_leaves_a_part_that_the_next_one_goes_on_with(world: World) -> None:
    world.site.gate.clear()
    words = [sys.executable, "-c", PROGRAM, str(world.state.path), world.site.url("base.raw"), DIGEST, "a1"]
    child = subprocess.Popen(words)
    part = world.cache / f"{DIGEST}.part"
    _until(lambda: part.exists() and part.stat().st_size > 0)
    child.kill()
    child.wait(120)
    world.site.gate.set()
    size = part.stat().st_size
    subprocess.run(words, check=True, timeout=180)
    assert world.site.asked[-1][2] == f"bytes={size}-"
    assert (world.cache / DIGEST).read_bytes() == DATA


def test_what_is_not_what_was_ordered_is_refused_and_does_not_stay(world: World) -> None:
    (world.site.folder / "base.raw").write_bytes(DATA[:-1] + b"!")
    with pytest.raises(InvalidError, match=f"has checksum .*, not {DIGEST}"):
        world.images().prepare(*world.vm("a1"))
    assert list(world.cache.iterdir()) == []
    with pytest.raises(InvalidError, match="needs a checksum"):
        world.images().prepare(*world.vm("a2", world.disk(sha256=None)))


def test_a14_bodies_without_an_end_and_long_ones_are_not_taken(world: World) -> None:
    with pytest.raises(InvalidError, match="more than the 2 MiB that are allowed"):
        world.images(image_max_mb=2).prepare(*world.vm("a1"))
    assert not (world.cache / f"{DIGEST}.part").exists()
    world.site.endless = True
    with pytest.raises(InvalidError, match="more than the 8 MiB that are allowed"):
        world.images(image_max_mb=8).prepare(*world.vm("a2"))
    assert (world.cache / f"{DIGEST}.part").stat().st_size <= 8 * MIB


def test_an_image_that_is_larger_than_it_was_declared_to_be_is_not_taken(world: World) -> None:
    with pytest.raises(InvalidError, match="more than the 2 MiB that are allowed"):
        world.images().prepare(*world.vm("a1", world.disk(most_mb=2)))  # it is not even fetched
    assert not (world.cache / f"{DIGEST}.part").exists()
    world.images().prepare(*world.vm("a2", world.disk(most_mb=3)))
    refused = r"has 3 MiB for its guest, where 2 were declared"
    with pytest.raises(InvalidError, match=refused):
        world.images().prepare(*world.vm("a3", world.disk(most_mb=2)))  # nor taken from the cache
    thin = world.site.folder / "thin.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", thin, "64M"], check=True)
    digest = hashlib.sha256(thin.read_bytes()).hexdigest()
    disk = world.disk(source=world.site.url("thin.qcow2"), sha256=digest, format="qcow2")
    with pytest.raises(InvalidError, match="has 64 MiB for its guest, where 63 were declared") as caught:
        world.images().prepare(*world.vm("a4", replace(disk, most_mb=63)))  # small as its file is
    assert caught.value.figures == {"image_mb.declared": 63, "image_mb.found": 64}
    world.images().prepare(*world.vm("a5", replace(disk, most_mb=64)))


def test_other_servers_and_schemes_are_not_asked_whoever_names_them(world: World) -> None:
    for there in ("http://127.0.0.2/x", f"http://localhost:{world.site.port}/x", "https://127.0.0.1/x", "file:///x"):
        world.site.moved = there
        with pytest.raises((DeniedError, InvalidError)):
            world.images().prepare(*world.vm("a1"))
    world.site.moved = "/base.raw?again"
    world.images().prepare(*world.vm("a1"))
    for source in ("http://127.0.0.2/base.raw", world.site.url("../base.raw"), "ftp://127.0.0.1/x", "scp://u:p@h/x"):
        with pytest.raises((DeniedError, InvalidError)):
            world.images().prepare(*world.vm("a3", world.disk(source=source)))


def test_a14_names_of_the_store_do_not_lead_out_of_it(world: World) -> None:
    (world.site.folder / "sub").mkdir()
    (world.site.folder / "sub/base.raw").write_bytes(DATA)
    images = world.images(image_store=world.site.url("sub"), image_sources=[])
    images.prepare(*world.vm("a1", world.disk(source="store:base.raw")))
    assert world.site.asked == [("GET", "/sub/base.raw", None)]
    for name in ("../base.raw", "/base.raw", "a/../../base.raw", "%2e%2e/base.raw", "-x", "a//b", "a b", "", "x?y"):
        with pytest.raises(InvalidError):
            images.prepare(*world.vm("a2", world.disk(source=f"store:{name}", sha256="1" * 64)))


def test_secrets_of_an_address_are_sent_and_not_told(world: World) -> None:
    world.site.login = "Basic bWU6czNjcjN0"
    images = world.images()
    images.prepare(*world.vm("a1", world.disk(source=world.site.url("base.raw", "me:s3cr3t@"))))
    for source in (
        world.site.url("none.raw", "me:s3cr3t@"),
        world.site.url("none.raw?token=s3cr3t", "me:s3cr3t@"),
        world.site.url("base.raw", "me:s3cr3t-no@"),
        "http://me:s3cr3t@127.0.0.2/x",
        "http://me:s3cr3t@127.0.0.1:x/",
        "scp://me:s3cr3t@127.0.0.1/x",
    ):
        with pytest.raises(FlyingLowError) as caught:
            images.prepare(*world.vm("a2", world.disk(source=source, sha256="1" * 64)))
        assert "s3cr3t" not in f"{caught.value} {caught.value.figures}"


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(world: World) -> None:
    world.site.fails = [503]
    world.images().prepare(*world.vm("a1"))
    assert world.site.gets() == 2
    for status, error in ((404, InvalidError), (403, DeniedError)):
        world.site.fails, before = [status], world.site.gets()
        with pytest.raises(error, match=str(status)):
            world.images().prepare(*world.vm("a2", world.disk(sha256="1" * 64)))
        assert world.site.gets() == before + 1


def test_a_transfer_nobody_wants_any_more_stops_and_others_go_on_with_it(world: World) -> None:
    world.site.gate.clear()
    caught: list[BaseException] = []

    def make() -> None:
        try:
            world.images().prepare(*world.vm("a1"))
        except FlyingLowError as error:
            caught.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    part = world.cache / f"{DIGEST}.part"
    _until(lambda: part.exists() and part.stat().st_size > 0)
    waiting = threading.Thread(target=world.images().prepare, args=world.vm("a2"))
    waiting.start()
    notes.cut_short(world.state.vm("a1").path)
    world.site.gate.set()
    thread.join(120)
    waiting.join(120)
    assert [type(error) for error in caught] == [Cancelled]
    assert (world.cache / DIGEST).read_bytes() == DATA


def test_the_least_recently_used_goes_first_and_what_is_in_use_never(world: World) -> None:
    others = {}
    for name in "bcd":
        data = name.encode() * MIB
        (world.site.folder / name).write_bytes(data)
        others[name] = world.disk(source=world.site.url(name), sha256=hashlib.sha256(data).hexdigest())
    images = world.images(cache_max_mb=5)
    images.prepare(*world.vm("a1"))  # 3 MiB, stays in use
    for tag, name in (("b1", "b"), ("c1", "c"), ("b2", "b")):
        images.prepare(*world.vm(tag, others[name]))
    for tag in ("b1", "c1", "b2"):
        world.state.vm(tag).remove()
    images.prepare(*world.vm("d1", others["d"]))
    names = {path.name for path in world.cache.iterdir()}
    assert names == {DIGEST, others["b"].sha256, others["d"].sha256}
    images.prepare(*world.vm("b3", others["b"]))
    with pytest.raises(ExhaustedError, match="cache_max_mb"):
        images.prepare(*world.vm("c2", others["c"]))


def test_images_on_their_way_count_with_all_that_is_still_to_come(world: World) -> None:
    (world.site.folder / "b").write_bytes(b"b" * 2 * MIB)
    other = world.disk(source=world.site.url("b"), sha256=hashlib.sha256(b"b" * 2 * MIB).hexdigest())
    world.site.gate.clear()
    images = world.images(cache_max_mb=4)
    thread = threading.Thread(target=images.prepare, args=world.vm("a1"))
    thread.start()
    _until((world.cache / f"{DIGEST}.part").exists)
    with pytest.raises(ExhaustedError, match="1 MiB more are needed"):
        images.prepare(*world.vm("b1", other))
    world.site.gate.set()
    thread.join(20)
    world.state.vm("a1").remove()
    images.prepare(*world.vm("b2", other))
    assert sorted(path.name for path in world.cache.iterdir()) == [other.sha256]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_full_is_said_to_be_so_and_nothing_is_lost(world: World, tmp_path: Path) -> None:
    """What is free is looked at first; what nobody could know of meets the disk's own end."""
    script = f"mount -t tmpfs -o size=2m none {world.state.path} && exec {sys.executable} -c '{FULL}' $0 $1 $2"
    words = ["unshare", "-m", "sh", "-c", script, str(world.state.path), world.site.url("base.raw"), DIGEST]
    done = subprocess.run(words, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["ExhaustedError 2 MiB more", "ExhaustedError no space left"]


def test_a_server_is_believed_when_its_certificate_is(world: World, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    world.site.server.socket = context.wrap_socket(world.site.server.socket, server_side=True)
    disk = world.disk(source=world.site.url("base.raw").replace("http:", "https:"))
    listed = {"image_sources": [world.site.url("").replace("http:", "https:")]}
    with pytest.raises(DeniedError, match="not who it says"):
        world.images(**listed).prepare(*world.vm("a1", disk))
    world.images(**listed, image_authorities=str(certificate)).prepare(*world.vm("a2", disk))
    assert (world.cache / DIGEST).read_bytes() == DATA
    world.site.gate.clear()  # and what is not wanted any more ends, whoever is silent
    (world.cache / DIGEST).unlink()
    vm, spec = world.vm("a3", disk)
    caught: list[BaseException] = []

    def make() -> None:
        try:
            world.images(**listed, image_authorities=str(certificate)).prepare(vm, spec)
        except FlyingLowError as error:
            caught.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    _until((world.cache / f"{DIGEST}.part").exists)
    notes.cut_short(vm.path)
    thread.join(60)
    assert [type(error) for error in caught] == [Cancelled]


def test_how_far_it_is_can_be_read_while_it_lasts(world: World) -> None:
    world.site.gate.clear()
    vm, spec = world.vm("a1")
    thread = threading.Thread(target=world.images().prepare, args=(vm, spec))
    thread.start()
    _until(lambda: notes.told(vm.path) != "")
    assert notes.told(vm.path).startswith(f"image {world.site.url('base.raw')}: 0.")
    assert " of 3.0 MiB" in notes.told(vm.path)
    world.site.gate.set()
    thread.join(120)
    assert notes.told(vm.path) == ""


def test_roots_agent_fetches_from_listed_places_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(DeniedError, match="image_sources"):
        world.images(image_sources=[]).prepare(*world.vm("a1"))
    with pytest.raises(DeniedError, match="image_sources"):
        world.images(image_sources=[world.site.url("base")]).prepare(*world.vm("a2"))
    assert world.site.asked == []


def _until(true: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "this did not come about"
        time.sleep(0.01)


def test_an_overlay_is_there_at_once_when_its_image_is_cached(world: World) -> None:
    images = world.images()
    images.prepare(*world.vm("a1"))
    world.site.gate.clear()  # nothing more is fetched
    images.prepare(*world.vm("a2"))
    assert world.site.gets() == 1
    assert os.path.samestat((world.cache / DIGEST).stat(), (world.state.vm("a2").path / "disk0.base").stat())

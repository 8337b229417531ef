"""A node with a stand-in for Xen's ``xl``: strangers, half-made domains, domains that end by themselves."""

import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.doctor import checks as doctor
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, InvalidError
from flyinglow.nodectl.hypervisor.xen import Xen
from flyinglow.nodectl.hypervisor.xl import Xl
from flyinglow.nodectl.messages import VmStatus
from rigs.node import Subject, XenHost, xen_host

__all__ = ["xen_host"]
TAG = "kx3b9q2z"


@pytest.fixture
def node(xen_host: XenHost, tmp_path: Path) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        made = Subject("xen", tmp_path / "state", Path(run) / "run", xen_host.spec, **xen_host.settings)
        yield made
        assert made.kill_all()["failed"] == []


def test_a_domain_that_cannot_be_made_leaves_nothing_half_made(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG)
    xen_host.refuse("libxl: error: no such thing")
    with pytest.raises(BrokenError, match=r"VM did not start: .*no such thing"):
        node.node.start(TAG)
    assert xen_host.domains() == []
    xen_host.refuse("libxl: error: failed to free memory for the domain")
    with pytest.raises(ExhaustedError, match="too little free memory"):
        node.node.start(TAG)
    assert xen_host.domains() == []
    xen_host.refuse("")
    assert node.node.start(TAG).status is VmStatus.RUNNING


@pytest.mark.parametrize(
    ("flags", "reason", "status", "words"),
    [
        ("---s--", "0", VmStatus.STOPPED, "ended by itself"),
        ("---sc-", "3", VmStatus.BROKEN, "kernel crashed"),
        ("---s--", "1", VmStatus.STOPPED, "nobody booted it anew"),
        ("-----d", "-", VmStatus.BROKEN, "domain is gone"),
    ],
)
def test_a_guest_that_ends_by_itself_is_told_from_one_that_is_taken_away(
    node: Subject, xen_host: XenHost, flags: str, reason: str, status: VmStatus, words: str
) -> None:
    node.create(TAG)
    node.node.start(TAG)
    (domain,) = xen_host.domains()
    xen_host.put([{**domain, "flags": flags, "reason": reason}])
    info = node.again().info(TAG)
    assert (info.status, words in info.reason) == (status, True), info
    assert node.node.start(TAG).status is VmStatus.RUNNING


def test_kill_all_ends_our_domains_without_directories_and_nobody_elses(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG)
    node.node.start(TAG)
    (ours,) = xen_host.domains()
    others = [
        {**ours, "name": "database", "id": 77},
        {**ours, "name": "fl-other", "id": 78, "uuid": "11111111-2222-3333-4444-555555555555"},
    ]
    xen_host.put([ours, *others])
    node.node.state.vm(TAG).remove()
    assert node.node.list() == []
    (stray,) = [finding for finding in doctor.examine(node.config) if finding.name == "strays"]
    assert not stray.ok
    assert f"domain fl-{TAG} is of VM {TAG}, which has no directory" in stray.text
    assert node.kill_all()["failed"] == []
    assert xen_host.domains() == others
    xen_host.put([])


def test_kill_all_asks_xen_no_more_often_for_more_domains(
    node: Subject, xen_host: XenHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    domains = Xl.domains

    def counting(xl: Xl) -> Any:
        asked.append(1)
        return domains(xl)

    counts = []
    for number in (1, 5):
        for one in range(number):
            node.create(f"{TAG}{one}")
            node.node.start(f"{TAG}{one}")
        monkeypatch.setattr(Xl, "domains", counting)
        asked.clear()
        assert node.kill_all()["failed"] == []
        counts.append(len(asked))
        monkeypatch.setattr(Xl, "domains", domains)
        assert xen_host.domains() == []
        assert node.node.list() == []
    assert counts[0] == counts[1] <= 3  # before, after, and once more for what was begun meanwhile


@pytest.mark.parametrize("made_anew", [True, False])
def test_a_guest_that_went_down_to_boot_anew_is_waited_for_while_there_is_an_xl_that_makes_it(
    node: Subject, xen_host: XenHost, monkeypatch: pytest.MonkeyPatch, made_anew: bool
) -> None:
    monkeypatch.setattr("flyinglow.nodectl.hypervisor.xen.REBOOT_SECONDS", 0.0)  # making it takes longer
    node.create(TAG)
    node.node.start(TAG)
    (domain,) = xen_host.domains()
    asked: list[str] = []
    run = Xl.run

    def slow(xl: Xl, *words: str, **more: Any) -> str:
        asked.append(words[0])
        if words[0] == "reboot":
            xen_host.put([{**domain, "flags": "---s--", "reason": "1"}])
            return ""
        if asked.count("list") == 5 and made_anew:
            xen_host.put([{**domain, "id": domain["id"] + 1}])
        return run(xl, *words, **more)

    monkeypatch.setattr(Xl, "run", slow)
    argv = ["/bin/sh", "-c", "read -r _", "xl", str(node.node.state.vm(TAG).path / "xen.cfg")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as maker:
        assert maker.stdin is not None
        if not made_anew:
            maker.stdin.close()
            maker.wait(120)
        assert node.node.reboot(TAG).status is VmStatus.RUNNING
        assert ("create" not in asked, "destroy" not in asked) == (made_anew, made_anew)
        maker.stdin.close()


def test_a_program_that_died_before_its_record_finds_the_domain(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG)
    before = node.node.state.vm(TAG).record()
    node.node.start(TAG)
    vm = node.node.state.vm(TAG)
    vm.update(before)
    (vm.path / "domain").unlink()
    assert node.again().info(TAG).status is VmStatus.RUNNING
    node.again().destroy(TAG)
    assert xen_host.domains() == []


def test_the_disks_are_raw_and_the_context_is_on_the_last_one(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG, user_data="secret")
    node.node.start(TAG, paused=True)
    vm = node.node.state.vm(TAG)
    text = (vm.path / "xen.cfg").read_text()
    assert "hello" not in text
    assert "secret" not in text
    assert text.count(f"script={node.config.state / 'xen-block'},format=raw,vdev=xvd") == 4
    assert f"vdev=xvdb,access=ro,target={xen_host.images / 'root.raw'}" in text
    assert f"vdev=xvdd,access=ro,target={vm.path / 'seed.img'}" in text
    seed = (vm.path / "seed.img").read_bytes()
    assert b"cidata" in seed
    assert b"hello" in seed
    assert b"secret" in seed
    assert (vm.path / "disk0.raw").read_bytes() == (xen_host.images / "root.raw").read_bytes()
    assert (vm.path / "disk2.raw").stat().st_size == 1 << 20
    assert stat.S_IMODE(vm.path.stat().st_mode) == 0o700


def test_without_a_program_for_iso_9660_the_volume_is_ext4_unless_the_image_needs_the_other(
    node: Subject, xen_host: XenHost
) -> None:
    poor: dict[str, Any] = {"xorrisofs": "/nowhere/xorrisofs"}
    node.again(**poor).create(TAG, xen_host.spec(TAG))
    seed = (node.node.state.vm(TAG).path / "seed.img").read_bytes()
    assert (seed[1024 + 0x38 :][:2], seed[1024 + 0x78 :][:6]) == (b"\x53\xef", b"cidata")
    node.node.destroy(TAG)
    with pytest.raises(BrokenError, match="apt-get install xorriso"):
        node.again(**poor).create(TAG, xen_host.spec(TAG, delivery="seed"))
    assert not node.node.state.vm(TAG).exists()
    with pytest.raises(InvalidError, match="Xen has no fw_cfg"):
        node.create(TAG, delivery="fw_cfg")


@pytest.mark.parametrize("text", ["", "Name ID Mem\\n", "Name UUID\\nwhat is this\\n", "xl: no such command\\n"])
def test_an_xl_that_says_something_else_is_broken(tmp_path: Path, text: str) -> None:
    program = tmp_path / "xl"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    with pytest.raises(BrokenError, match="not understood"):
        Xl(str(program)).domains()


def test_nothing_is_said_to_be_gone_while_xl_does_not_answer(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG)
    node.node.start(TAG)
    silent: dict[str, Any] = {"xl": "/bin/false"}
    assert node.again(**silent).info(TAG).status is VmStatus.BROKEN
    with pytest.raises(FlyingLowError):
        node.again(**silent).destroy(TAG)
    assert node.node.info(TAG).status is VmStatus.RUNNING


def test_the_doctor_looks_for_xen_where_vms_are_its_domains(tmp_path: Path, xen_host: XenHost) -> None:
    plain = {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "driver": "xen", **xen_host.settings}
    found = {finding.name: finding for finding in doctor.examine(config.build(plain))}
    assert found["xl"].ok
    assert "Xen 4.17" in found["xl"].text
    assert not found["consoles"].ok
    assert "xenconsoled" in found["consoles"].text
    assert not {"qemu", "qemu starts", "/dev/net/tun"} & set(found)
    missing = {finding.name: finding for finding in doctor.examine(config.build({**plain, "xl": "/nowhere/xl"}))}
    assert "xen-utils" in missing["xl"].text


def test_a_vm_goes_on_where_it_was_saved_and_its_memory_is_nobody_elses(node: Subject, xen_host: XenHost) -> None:
    node.create(TAG)
    node.node.start(TAG)
    vm, driver = node.node.state.vm(TAG), Xen(node.config)
    file = vm.path / "memory"
    driver.save(vm, file)
    assert node.node.info(TAG).status is VmStatus.STOPPED
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    driver.restore(vm, vm.spec(), file, paused=True)
    assert node.node.info(TAG).status is VmStatus.PAUSED
    assert node.node.resume(TAG).status is VmStatus.RUNNING
    driver.save(vm, file)
    file.write_text("something else")
    with pytest.raises(BrokenError, match=r"VM did not start: .*Invalid ident"):
        driver.restore(vm, vm.spec(), file, paused=False)
    assert node.node.info(TAG).status is VmStatus.STOPPED

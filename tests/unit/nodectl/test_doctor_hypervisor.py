"""What the doctor says of a libvirtd and of the hardware that VMs may have for themselves."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.doctor.checks import examine
from flyinglow.nodectl.doctor.hypervisor import hardware
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor import libvirt_link
from flyinglow.nodectl.hypervisor.mark import mark_of
from rigs import libvirt

GPU = "0000:3b:00.0"
EVERY = list(range(os.cpu_count() or 1))


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., dict[str, Callable[[], str]]]:
    def checks(**settings: Any) -> dict[str, Callable[[], str]]:
        return dict(hardware(config.build({"state": str(tmp_path), **settings}), tmp_path / "devices"))

    return checks


def test_devices_are_there_and_bound(look: Any, tmp_path: Path) -> None:
    folder = tmp_path / "devices" / GPU
    check = look(devices={"gpu": [GPU]})["device gpu"]
    with pytest.raises(BrokenError, match="has no PCI device 0000:3b"):
        check()
    folder.mkdir(parents=True)
    with pytest.raises(BrokenError, match="is not bound to vfio-pci"):
        check()
    (folder / "driver").symlink_to("../drivers/nvidia")
    with pytest.raises(BrokenError, match="is not bound to vfio-pci"):
        check()
    assert look(driver="libvirt", devices={"gpu": [GPU]})["device gpu"]() == GPU
    (folder / "driver").unlink()
    (folder / "driver").symlink_to("../drivers/vfio-pci")
    assert check() == GPU
    assert look() == {}


@pytest.mark.parametrize(("cpus", "words"), [([999], "has no CPU 999"), (EVERY, "no CPU is left")])
def test_cpus_that_cannot_be_dedicated(look: Any, cpus: list[int], words: str) -> None:
    with pytest.raises(BrokenError, match=words):
        look(dedicated_cpus=cpus)["dedicated CPUs"]()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[config.Config]:
    with libvirt.pretended() as uri:
        yield config.build(
            {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "driver": "libvirt", "libvirt": uri}
        )


def test_a_libvirtd_and_domains_whose_vms_are_gone(site: config.Config) -> None:
    found = {finding.name: finding for finding in examine(site)}
    assert found["libvirt"].ok
    assert found["libvirt"].text.startswith("TEST at test:///default, libvirt ")
    assert (found["strays"].ok, found["strays"].text) == (True, "none")
    link = libvirt.module().open(site.libvirt)
    mark = mark_of(site.state, "a1")
    domains = [
        link.defineXML(
            f"<domain type='test'><name>fl-{tag}</name><uuid>{uuid}</uuid><memory>1</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        for tag, uuid in (("a1", mark.uuid), ("b1", "5b0f6b1e-52a7-4f0e-9d86-0d0c7f3a2c77"))
    ]
    try:
        found = {finding.name: finding for finding in examine(site)}
        assert not found["strays"].ok
        assert "domain fl-a1 is of VM a1, which has no directory that knows of it: " in found["strays"].text
        assert "fl-b1" not in found["strays"].text
    finally:
        for domain in domains:
            domain.undefine()
        link.close()


def test_a_missing_module_and_a_missing_daemon_are_named(
    site: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = config.build(
        {"state": str(site.state), "driver": "libvirt", "libvirt": f"qemu+unix:///system?socket={tmp_path}/x"}
    )
    found = {finding.name: finding for finding in examine(nowhere)}
    assert not found["libvirt"].ok
    assert "libvirt cannot be reached at qemu+unix:" in found["libvirt"].text

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(libvirt_link, "import_module", missing)
    found = {finding.name: finding for finding in examine(site)}
    assert "apt-get install python3-libvirt" in found["libvirt"].text

"""What slots need of a node's configuration, its command line and its doctor."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config, processes
from flyinglow.nodectl.__main__ import main
from flyinglow.nodectl.deploy import sudoers
from flyinglow.nodectl.doctor import checks as doctor
from flyinglow.nodectl.doctor import slots as doctor_slots
from flyinglow.nodectl.doctor.checks import Finding
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.commandline import command_line
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"memory": "balloon"}, "memory must be one of accounted, cgroup"),
        ({"memory": "cgroup"}, "memory_cgroup must name"),
        ({"memory_cgroup": "jobs"}, "absolute path"),
        ({"vm_cgroup": "/sys/fs/cgroup/../../etc"}, "absolute path"),
        ({"vm_cgroup": 7}, "absolute path"),
        ({"minimum_node_mb": -1}, "minimum_node_mb"),
        ({"minimum_node_mb": None}, "minimum_node_mb"),
        ({"memory_mb": 0}, "memory_mb"),
        ({"memory_mb": 1.5}, "memory_mb"),
        ({"cpus": True}, "cpus"),
        ({"base_mb": "1000"}, "base_mb"),
        ({"vm_overhead_mb": -1}, "vm_overhead_mb"),
        ({"settle_seconds": "10"}, "settle_seconds"),
        ({"settle_seconds": float("nan")}, "settle_seconds"),
        ({"settle_seconds": float("inf")}, "settle_seconds"),
        ({"simulated": {"memory": []}}, "simulated.memory"),
        ({"simulated": {"memory": {"slow": 1}}}, "unknown configuration key simulated.memory.slow"),
        ({"simulated": {"memory": {"settle": -1}}}, "simulated.memory.settle"),
    ],
)
def test_a_wrong_configuration_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        config.build(data)


def test_the_hypervisors_share_is_counted_where_there_is_one() -> None:
    assert config.build({}).overhead_mb == 96
    assert config.build({"driver": "simulated"}).overhead_mb == 0
    assert config.build({"vm_overhead_mb": 7}).overhead_mb == 7
    assert config.build({}).minimum_node_mb == 256


def test_only_guests_of_a_slot_are_made_of_its_huge_pages(tmp_path: Path) -> None:
    settings = config.build({"memory": "hugepages", "hugepages": "/mnt/a,b", "state": str(tmp_path)})
    vm, spec = VmDir(tmp_path / "a1", tmp_path), VmSpec("a1", "ce", 96, 1)
    vm.create(spec)
    assert "-object" not in command_line(settings, "tcg", vm, spec, [])
    vm.create(spec, "k3.0")
    words = command_line(settings, "tcg", vm, spec, [])
    assert words[words.index("-M") + 1] == "q35,memory-backend=memory"
    backend = words[words.index("-object") + 1]
    assert backend == "memory-backend-file,mem-path=/mnt/a,,b,prealloc=on,id=memory,size=96M"
    plain = config.build({"state": str(tmp_path)})
    assert "-object" not in command_line(plain, "tcg", vm, spec, [])


def findings(tmp_path: Path, **settings: Any) -> dict[str, Finding]:
    plain = {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "driver": "simulated"}
    return {found.name: found for found in doctor.examine(config.build({**plain, **settings}))}


def test_doctor_says_how_much_slots_may_take(tmp_path: Path) -> None:
    found = findings(tmp_path, memory_mb=1000)["memory (accounted)"]
    assert found == Finding("memory (accounted)", True, "own share 1000 of 1000 MiB, of which slots may take 744")
    small = findings(tmp_path, memory_mb=256)["memory (accounted)"]
    assert not small.ok
    assert "minimum_node_mb" in small.text


def test_doctor_names_slots_whose_agents_are_gone(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    spec = {"slot": "k3.0", "memory_mb": 1, "cpus": 1}
    holder = {"pid": 1, "start": 0, "boot": processes.boot_id()}
    slots = [{"spec": spec, "taken_mb": 1, "holder": holder, "ending": False}]
    base = {"own_mb": 9, "raw": "9"}
    (tmp_path / "s/slots.json").write_text(json.dumps({"boot": processes.boot_id(), "base": base, "slots": slots}))
    found = findings(tmp_path)["slots"]
    assert not found.ok
    assert "k3.0 are gone: flyinglow-nodectl tidy" in found.text


def test_doctor_names_what_is_wrong_with_control_groups(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    inside = jobs / "vms"
    inside.mkdir(parents=True)
    (inside / "cgroup.procs").touch()
    wrong = findings(tmp_path, memory="cgroup", memory_cgroup=str(jobs), vm_cgroup=str(inside))
    assert "no control group with a memory limit" in wrong["memory (cgroup)"].text
    assert "take the memory twice" in wrong["cgroup of VMs"].text
    gone = findings(tmp_path, memory="cgroup", memory_cgroup=str(jobs), vm_cgroup=str(tmp_path / "none"))
    assert "vm_cgroup" in gone["cgroup of VMs"].text


def test_doctor_names_huge_pages_without_a_place_and_a_missing_xl(tmp_path: Path) -> None:
    wrong = findings(tmp_path, memory="hugepages", hugepages=str(tmp_path))["hugetlbfs"]
    assert not wrong.ok
    assert f"mount -t hugetlbfs none {tmp_path}" in wrong.text
    assert "not installed" in findings(tmp_path, memory="xen", xl="no-such-xl")["memory (xen)"].text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="what root looks at")
def test_doctor_looks_at_what_sudo_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **more: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor_slots, "RULES", tmp_path)
    assert "no rule below" in findings(tmp_path)["sudo"].text
    program = tmp_path / "bin"
    (tmp_path / "flyinglow").write_text(sudoers.text("fljob", str(program)))
    missing = findings(tmp_path)["sudo"]
    assert (missing.ok, "is not there" in missing.text) == (False, True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    weak = findings(tmp_path)["sudo"]
    assert (weak.ok, "must be root's alone" in weak.text) == (False, True)
    program.chmod(0o755)
    assert findings(tmp_path)["sudo"].ok


def test_status_and_tidy_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.json"
    settings = {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "driver": "simulated", "node": "n1"}
    file.write_text(json.dumps({**settings, "memory_mb": 1000, "cpus": 2}))
    assert main(["--config", str(file), "status"]) == 0
    said = capsys.readouterr().out
    assert (
        said == "n1: own share 1000 of 1000 MiB, is to be 1000, never below 256 (accounted); 2 CPUs\nno slots, no VMs\n"
    )
    assert main(["--config", str(file), "tidy"]) == 0
    assert capsys.readouterr().out == "undone 0\n"
    assert main(["sudoers", "a b"]) == 2

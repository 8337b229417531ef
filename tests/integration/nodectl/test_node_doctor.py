"""The doctor names whatever a node lacks, with what to do: programs missing or too old, a full disk, strange keys."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.doctor import checks, slots, versions
from flyinglow.nodectl.errors import BrokenError
from rigs.tickets import Signer

PROGRAMS = ("qemu", "qemu-img", "dnsmasq", "nft", "ip", "mke2fs")


def examined(tmp_path: Path, **settings: Any) -> dict[str, checks.Finding]:
    plain = {"state": str(tmp_path / "state"), "run": str(tmp_path / "run"), "memory_mb": 1000}
    return {found.name: found for found in checks.examine(config.build({**plain, **settings}))}


def program(path: Path, said: str, status: int = 0) -> str:
    path.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_missing_is_named_with_its_package(tmp_path: Path, name: str) -> None:
    if name in ("dnsmasq", "nft", "ip") and os.geteuid() != 0:
        pytest.skip("looked at by root only")
    found = examined(tmp_path, **{name.replace("-", "_"): f"/nowhere/{name}"})
    finding = found.get(name) or found[f"/nowhere/{name}"]
    assert not finding.ok
    assert f"/nowhere/{name} is missing" in finding.text
    assert f"apt-get install {versions.NEEDS[name].package}" in finding.text


@pytest.mark.parametrize("name", ["qemu", "qemu-img", "dnsmasq", "nft", "mke2fs"])
def test_a_program_that_is_too_old_or_says_nonsense_is_named(tmp_path: Path, name: str) -> None:
    need = versions.NEEDS[name]
    for said, status, words in (
        ("thing 0.8.1", 0, "or later, for"),
        ("no figure", 0, "or later, for"),
        ("", 0, "or later"),
        ("broken", 3, "does not tell its version"),
    ):
        path = program(tmp_path / "old", said, status)
        with pytest.raises(BrokenError, match=words) as caught:
            versions.found(name, path)
        assert need.package in caught.value.message
    new = program(tmp_path / "new", f"thing {need.least[0]}.{need.least[1] + 1}.7 (Debian)")
    assert versions.found(name, new).startswith("thing")


def test_the_versions_of_this_machine_are_told(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert sys.version.split()[0] in found["python"].text
    for name in ("qemu", "qemu-img", "mke2fs"):
        assert found[name].ok, found[name]
        assert any(letter.isdigit() for letter in found[name].text)


@pytest.mark.root
def test_a_full_disk_is_named_with_its_figures(tmp_path: Path) -> None:
    """On a small file system of a mount name space of the test's own."""
    file = tmp_path / "nodectl.json"
    place = tmp_path / "small"
    place.mkdir()
    told = {"state": f"{place}/state", "run": f"{tmp_path}/run", "driver": "simulated", "minimum_free_disk_mb": 4}
    file.write_text(json.dumps(told))
    script = (
        f"mount -t tmpfs -o size=8m,mode=0755 tmpfs {place}\n"
        f"F='{sys.executable} -m flyinglow.nodectl --config {file} --json'\n"
        f"$F doctor; head -c 6M /dev/zero > {place}/filling; $F doctor\n"
        f"cat /dev/zero > {place}/more 2>/dev/null; $F doctor; $F list"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    answers = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    states = [next(each for each in one["findings"] if each["name"] == "directories") for one in answers[:3]]
    assert [state["ok"] for state in states] == [True, False, False], done
    assert all("make room" in state["text"] for state in states[1:])
    assert answers[3] == {"vms": [], "strangers": []}  # looking goes on


def test_whose_tickets_a_node_believes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "RULES", tmp_path / "rules")
    (tmp_path / "rules").mkdir()
    signers = Signer(tmp_path).signers

    def found() -> checks.Finding:
        return examined(tmp_path, ticket_signers=str(signers))["tickets"]

    assert examined(tmp_path)["tickets"].text == "none wanted"
    if os.geteuid() == 0:
        (tmp_path / "rules/flyinglow").write_text(
            "fljob ALL=(root) NOPASSWD: /usr/sbin/flyinglow-nodectl agent --stdio\n"
        )
        assert "WARNING" in examined(tmp_path)["tickets"].text
    assert (found().ok, "1 key of a service" in found().text) == (True, True)
    signers.write_text(signers.read_text().replace("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"))
    assert not found().ok
    signers.write_text("somebody ssh-ed25519 AAAA\n")
    assert "has no line for flyinglow" in found().text
    signers.unlink()
    assert not found().ok
    missing = examined(tmp_path, ticket_signers=str(Signer(tmp_path, "b").signers), ssh_keygen="/nowhere/ssh-keygen")
    assert "openssh-client" in missing["tickets"].text

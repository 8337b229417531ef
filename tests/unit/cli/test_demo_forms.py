"""Which form the demo takes: the most real one that the machine allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyinglow.cli.demo import kinds
from flyinglow.cli.demo.kinds import Form, choose

ALL = ("qemu-system-x86_64", "qemu-img", "mke2fs", "ip", "unshare", "mount", "dnsmasq", "sudo", "visudo")


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, *programs: str) -> None:
    """Let the search path be a folder with these programs only."""
    for name in programs:
        program = folder / name
        program.write_text("")
        program.chmod(0o755)
    monkeypatch.setattr(kinds, "search_path", lambda: str(folder))


def test_root_with_all_programs_gets_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path, *ALL)
    assert choose(root=True, namespaces=True).form is Form.NAMESPACES


def test_others_get_user_mode_networks_and_are_told_their_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(monkeypatch, tmp_path, *ALL)
    choice = choose(root=False, namespaces=False)
    assert choice.form is Form.USER
    assert "guests cannot reach each other" in choice.why


def test_root_without_dnsmasq_gets_user_mode_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path, *(name for name in ALL if name != "dnsmasq"))
    choice = choose(root=True, namespaces=True)
    assert choice.form is Form.USER
    assert "dnsmasq" in choice.why


def test_without_qemu_the_hypervisor_is_simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path, *(name for name in ALL if not name.startswith("qemu")))
    choice = choose(root=True, namespaces=True)
    assert choice.form is Form.SIMULATED
    assert "qemu-system-x86_64" in choice.why


def test_root_that_may_not_make_namespaces_gets_user_mode_networks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(monkeypatch, tmp_path, *ALL)
    choice = choose(root=True, namespaces=False)
    assert choice.form is Form.USER
    assert "namespaces" in choice.why

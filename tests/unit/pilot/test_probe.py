"""What an unprivileged program can see of its node."""

from pathlib import Path

import pytest

from flyinglow.pilot.probe import found, memory_mb


def test_a_program_is_found_on_the_path_and_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert found("tool") is None  # nobody may run it
    program.chmod(0o755)
    assert found("tool") == str(program)
    assert found(str(program)) == str(program)
    assert found("other") is None
    assert found("/nowhere/tool") is None
    (tmp_path / "folder").mkdir()
    assert found("folder") is None


def test_memory_is_what_the_system_says(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemFree: 12 kB\nMemTotal:       16318476 kB\n")
    assert memory_mb(str(file)) == 15936
    file.write_text("nothing\n")
    assert memory_mb(str(file)) is None
    assert memory_mb(str(tmp_path / "none")) is None

"""The accelerator is chosen by what boots, never by what is there."""

from pathlib import Path

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.hypervisor.accelerator import Accelerator

BOOTS = 'echo "[ 0.3] Run /init as init process" > "$console"; exec sleep 60'
HANGS = 'echo "Probing EDD... ok" > "$console"; exec sleep 60'
FAILS = "exit 1"


def _accelerator(tmp_path: Path, body: str, *, device: bool = True, mode: str = "auto") -> Accelerator:
    program = tmp_path / "qemu"
    find = 'for word; do case $word in file:*) console=${word#file:} ;; esac; done; echo x >> "$(dirname "$0")/runs"'
    program.write_text(f"#!/bin/sh\n{find}\n{body}\n")
    program.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    (tmp_path / "kvm").touch()
    seconds = 0.4 if body is HANGS else 20.0  # the others end it themselves
    settings = {"state": str(state), "qemu": str(program), "accelerator": mode, "probe_seconds": seconds}
    return Accelerator(config.build(settings), tmp_path / ("kvm" if device else "none"))


@pytest.mark.parametrize(("body", "chosen"), [(BOOTS, "kvm"), (HANGS, "tcg"), (FAILS, "tcg")])
def test_a_boot_decides_and_is_remembered(tmp_path: Path, body: str, chosen: str) -> None:
    for _ in range(2):
        assert _accelerator(tmp_path, body).choose("/kernel", None) == chosen
    assert (tmp_path / "runs").read_text() == "x\n"


def test_without_a_device_or_a_kernel_nothing_is_tried(tmp_path: Path) -> None:
    assert _accelerator(tmp_path, BOOTS).choose(None, None) == "tcg"
    assert _accelerator(tmp_path, BOOTS, device=False).choose("/kernel", None) == "tcg"
    assert not (tmp_path / "runs").exists()


def test_an_answer_of_an_earlier_boot_does_not_count(tmp_path: Path) -> None:
    accelerator = _accelerator(tmp_path, BOOTS)
    (tmp_path / "state/accelerator.json").write_text('{"accelerator": "tcg", "boot": "an earlier one"}')
    assert accelerator.choose("/kernel", None) == "kvm"


def test_configuration_wins(tmp_path: Path) -> None:
    assert _accelerator(tmp_path, HANGS, mode="kvm").choose("/kernel", None) == "kvm"

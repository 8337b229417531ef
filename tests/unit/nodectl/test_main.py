"""The command for people, and its configuration."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.__main__ import EXIT_CODES, main
from flyinglow.nodectl.errors import KINDS, InvalidError
from rigs.node import plain_spec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"driver": "simulated", "run": str(tmp_path / "run")}))

    def call(*words: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        code = main(["--config", str(file), "--state", str(tmp_path / "state"), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_vms_life_by_hand(run: Any) -> None:
    assert run("create", given=json.dumps(plain_spec("a1")))[:2] == (0, "a1  created\n")
    assert run("start", "a1")[:2] == (0, "a1  running  ready\n")
    assert run("pause", "a1")[:2] == (0, "a1  paused\n")
    assert json.loads(run("--json", "info", "a1")[1])["status"] == "paused"
    assert run("resume", "a1")[0] == run("reboot", "a1")[0] == 0
    assert run("shutdown", "a1", "--seconds", "0")[:2] == (0, "a1  stopped\n")
    assert run("list")[1] == "a1  stopped\n"
    assert run("destroy", "a1")[:2] == (0, "done\n")
    assert run("list")[:2] == (0, "")


def test_errors_have_an_exit_code_and_a_sentence(run: Any) -> None:
    assert run("info", "nobody")[::2] == (3, "flyinglow-nodectl: there is no VM nobody on this node\n")
    assert run("info", "No Body")[0] == 2
    assert run("create", given="{")[0] == 2
    assert run("create", given="[]")[0] == 2
    run("create", given=json.dumps(plain_spec("a1")))
    code, out, _ = run("--json", "pause", "a1")
    assert (code, json.loads(out)["error"]["kind"]) == (4, "conflict")
    with pytest.raises(SystemExit) as caught:
        run("dance")
    assert caught.value.code == 2


def test_every_kind_of_error_has_its_exit_code() -> None:
    assert set(KINDS) <= set(EXIT_CODES)
    assert len({EXIT_CODES[kind] for kind in KINDS}) == len(KINDS)


def test_kill_all_and_doctor(run: Any) -> None:
    run("create", given=json.dumps(plain_spec("a1")))
    assert run("kill-all")[:2] == (0, "destroyed 1: a1\n")
    assert run("kill-all")[:2] == (0, "destroyed 0\n")
    assert run("doctor")[1].startswith("ok  directories: ")


def test_doctor_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.json"
    missing = {"qemu": "no-such-qemu", "bridges": ["nobridge"], "run": str(tmp_path / "run")}
    file.write_text(json.dumps({"state": str(tmp_path / "s"), **missing}))
    assert main(["--config", str(file), "doctor"]) == 1
    said = capsys.readouterr().out
    assert "BAD qemu: no-such-qemu is missing: install it (Debian: apt-get install qemu-system-x86)" in said
    assert "BAD bridge nobridge: there is no bridge nobridge" in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"drivr": "qemu"}, "unknown configuration key drivr"),
        ({"simulated": {"delay": 1}}, "unknown configuration key simulated.delay"),
        ({"driver": "xen"}, "driver must be one of"),
        ({"workers": 0}, "workers"),
        ({"watch_seconds": "1"}, "watch_seconds"),
        ({"bridges": "br0"}, "bridges must be a JSON list"),
        ({"simulated": []}, "simulated must be a JSON object"),
    ],
)
def test_a_wrong_configuration_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        config.build(data)


def test_a_missing_file_is_an_error_only_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "none")
    assert config.load().driver == "qemu"
    with pytest.raises(InvalidError, match="does not exist"):
        config.load(tmp_path / "none")
    (tmp_path / "bad").write_text("{")
    with pytest.raises(InvalidError, match="cannot be read"):
        config.load(tmp_path / "bad")

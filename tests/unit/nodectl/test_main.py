"""The command for people, and its configuration."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import __main__ as program
from flyinglow.nodectl import arguments, compose, config, spec
from flyinglow.nodectl.__main__ import EXIT_CODES, main
from flyinglow.nodectl.arguments import parser
from flyinglow.nodectl.errors import KINDS, DeniedError, InvalidError
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
    assert run("list")[:2] == (0, "no VMs\n")


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
        ({"driver": "xm"}, "driver must be one of"),
        ({"workers": 0}, "workers"),
        ({"watch_seconds": "1"}, "watch_seconds"),
        ({"bridges": "br0"}, "bridges must be a JSON list"),
        ({"simulated": []}, "simulated must be a JSON object"),
    ],
)
def test_a_wrong_configuration_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        config.build(data)


@pytest.mark.parametrize("name", ["n b", "user x", "", 7, "a\nlink delete eth0"])
def test_a_user_for_qemu_is_a_name(name: Any) -> None:
    with pytest.raises(InvalidError, match="run_as"):
        config.build({"run_as": name})


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to others needs root")
def test_root_believes_no_file_that_another_could_write(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text("{}")
    config.load(file)
    file.chmod(0o664)
    with pytest.raises(DeniedError, match=f"{file} must belong to root"):
        config.load(file)
    file.chmod(0o644)
    os.chown(file, 65534, 0)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(DeniedError, match="must belong to root"):
        config.load(tmp_path / "link")


def test_root_lets_vms_use_listed_bridges_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for uid, listed, allowed in ((0, [], False), (0, ["br0"], True), (0, ["br1"], False), (1000, [], True)):
        monkeypatch.setattr("os.geteuid", lambda uid=uid: uid)
        assert config.build({"bridges": listed}).allows_bridge("br0") is allowed


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="what root is told")
def test_doctor_tells_root_what_orders_may_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    os.chown(tmp_path / "images", 65534, 0)
    file = tmp_path / "c.json"
    settings = {"state": str(tmp_path / "s"), "run": str(tmp_path / "run"), "run_as": "nosuchuser", "sandbox": True}
    file.write_text(json.dumps({**settings, "images": [str(tmp_path / "images"), str(tmp_path / "none")]}))
    assert main(["--config", str(file), "doctor"]) == 1
    said = capsys.readouterr().out
    assert "ok  bridges: none" in said
    assert f"BAD images: {tmp_path}/images belongs to, or is writable by, another user" in said
    assert f"BAD images: there is no directory {tmp_path}/none" in said
    assert "BAD directories: there is no user nosuchuser on this node (configuration key run_as)" in said


def test_a_missing_file_is_an_error_only_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "none")
    assert config.load().driver == "qemu"
    with pytest.raises(InvalidError, match="does not exist"):
        config.load(tmp_path / "none")
    (tmp_path / "bad").write_text("{")
    with pytest.raises(InvalidError, match="cannot be read"):
        config.load(tmp_path / "bad")


def test_every_command_has_its_function_and_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    choices = next(action.choices for action in parser()._actions if action.dest == "command")
    assert choices is not None
    assert set(choices) == set(program._commands())
    for name in choices:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
    assert "usage: flyinglow-nodectl kill-all" in capsys.readouterr().out


def test_the_help_shows_a_specification_that_is_understood() -> None:
    text = arguments.EXAMPLE
    assert spec.read(json.loads(text[text.index("{") : text.rindex("}") + 1])).tag == "k1"


@pytest.mark.parametrize("lacking", ["tag", "name", "memory_mb", "cpus"])
def test_what_a_specification_lacks_is_named(run: Any, lacking: str) -> None:
    given = {name: value for name, value in plain_spec("a1").items() if name != lacking}
    code, _, said = run("create", given=json.dumps(given))
    assert (code, lacking in said) == (2, True)


def test_a_disk_is_saved_by_hand(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Saver:
        def save(self, _vm: object, _spec: object, body: dict[str, Any]) -> dict[str, Any]:
            asked.append(body)
            return {"target": body["target"], "disk": "root", "format": "raw", "sha256": "ab" * 32, "bytes": 5}

    monkeypatch.setattr(compose, "_saver", lambda _: Saver())
    run("create", given=json.dumps(plain_spec("a1")))
    code, out, _ = run("save", "a1", "--to", "file:///srv/a.raw", "--disk", "root", "--format", "raw")
    assert (code, out) == (0, f"a1  created  root saved to file:///srv/a.raw, sha256 {'ab' * 32}\n")
    assert json.loads(run("--json", "save", "a1", "--to", "file:///srv/b")[1])["saved"]["bytes"] == 5
    assert asked == [
        {"target": "file:///srv/a.raw", "disk": "root", "format": "raw"},
        {"target": "file:///srv/b"},
    ]
    run("start", "a1")
    assert run("save", "a1", "--to", "file:///srv/b")[0] == 4
    with pytest.raises(SystemExit):
        run("save", "a1")


def test_who_has_no_home_is_told_what_to_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nowhere)
    monkeypatch.setattr("flyinglow.nodectl.config.is_root", lambda: False)
    with pytest.raises(InvalidError, match="'state' in the node's configuration"):
        config.build({"driver": "simulated"})

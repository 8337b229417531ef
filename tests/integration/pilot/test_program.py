"""The program by hand: dry run, settings, exit codes."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flyinglow.pilot.messages import settings_line
from rigs.pilot_agent import BASE
from rigs.pilot_site import Site


def run(site: Site, *options: str, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    words = [site.python, "-IS", str(site.file), *options]
    done = subprocess.run(words, input=data, capture_output=True, timeout=180, check=False)
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def written(site: Site, path: Path, **changes: Any) -> Path:
    path.write_bytes(settings_line(replace(site.settings, **{"url": site.service.url, **changes})))
    path.chmod(0o600)
    return path


def test_a_dry_run_explains_and_probes_and_changes_nothing(each_python: Site, tmp_path: Path) -> None:
    site = each_python
    file = written(site, tmp_path / "settings")
    done = run(site, "--rank", "0", "--node", "n1", "--settings", str(file), "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "slot t1.0 on node n1, for 600 s at most; a pilot would"
    assert "have it reserve 1024 MB by the policy exact, and 1 CPUs" in done.stdout
    assert "leave the service 6 s" in done.stdout
    found = {line.split(":")[0]: line for line in lines if line.startswith(("ok", "BAD"))}
    assert set(found) == {"ok  interpreter", "ok  memory", "ok  program", "ok  agent", "ok  service"}
    assert "it speaks version 1, this pilot versions 1 to 2" in found["ok  agent"]
    assert (site.memory, site.agent_log) == (BASE, ["start", "end"])
    assert site.service.heard == []
    assert site.settings.key not in done.stdout + done.stderr


def test_a_dry_run_names_all_that_is_wrong(bare_site: Site, tmp_path: Path) -> None:
    site = bare_site
    site.misbehave("refuse")
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    agent = (str(sudo), "-n", "flyinglow-nodectl", "agent", "--stdio")
    slots = ({"memory_mb": 1 << 30, "cpus": 1},)
    file = written(site, tmp_path / "settings", agent=agent, slots=slots, url="http://localhost:9/")
    done = run(site, "--rank", "0", "--node", "n1", "--settings", str(file), "--dry-run")
    assert done.returncode == 3
    bad = [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert bad == ["BAD memory", "BAD sudo", "BAD agent", "BAD service"]
    assert "may not run flyinglow-nodectl agent --stdio as root: sudo: a password is required" in done.stdout


def test_settings_that_others_can_read_are_refused(site: Site, tmp_path: Path) -> None:
    file = written(site, tmp_path / "settings")
    file.chmod(0o644)
    done = run(site, "--rank", "0", "--node", "n1", "--settings", str(file))
    assert done.returncode == 2
    assert "0600" in done.stderr


def test_wrong_usage_is_told_and_changes_nothing(site: Site) -> None:
    good = replace(site.settings, url=site.service.url)
    for options, data, word in (
        ((), b"", "--rank"),
        (("--rank", "0", "--node", "n1"), b"", "no settings"),
        (("--rank", "0", "--node", "n1"), b"garbage\n", "not JSON"),
        (("--rank", "7", "--node", "n1"), settings_line(good), "rank 7"),
        (("--rank", "0", "--node", "n1"), settings_line(replace(good, seconds=-1.0)), "out of range"),
        (("--rank", "0", "--node", "n1"), settings_line(replace(good, key="xyz")), "hexadecimal"),
        (("--rank", "0", "--node", "n1"), settings_line(replace(good, url="ftp://x/")), "http"),
        (("--rank", "0", "--node", "n1"), settings_line(replace(good, slots=({"cpus": 1},))), "size"),
        (("--rank", "0", "--node", "n1"), settings_line(replace(good, ssh={"user": "x"})), "second report channel"),
    ):
        done = run(site, *options, data=data)
        assert done.returncode == 2, done.stderr
        assert word in done.stderr
        assert "Traceback" not in done.stderr
    assert site.service.heard == []


def test_settings_of_another_version_have_an_exit_code_of_their_own(site: Site) -> None:
    fields = {**asdict(site.settings), "version": 7, "software": "flyinglow 9.9"}
    done = run(site, "--rank", "0", "--node", "n1", data=json.dumps(fields).encode() + b"\n")
    assert done.returncode == 6
    assert "('flyinglow 9.9') speaks version 7, this side version 1: upgrade this side" in done.stderr


def test_a_service_of_another_version_is_refused_and_both_are_named(site: Site) -> None:
    site.service.version = 7
    pilot = site.start()
    assert pilot.exit() == 6, pilot.log
    assert "('scripted 9.9') speaks version 7, this side version 1: upgrade this side" in pilot.log
    assert site.memory == BASE


def test_a_service_that_refuses_the_slot_ends_the_pilot(site: Site) -> None:
    site.service.desk("t1.0").error = {"kind": "conflict", "message": "this slot is another pilot's"}
    pilot = site.start()
    assert pilot.exit() == 7, pilot.log
    assert "another pilot's" in pilot.log
    assert site.memory == BASE


def test_the_installed_command_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flyinglow.pilot", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    assert done.stdout == "0.1.0\n"

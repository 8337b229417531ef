"""The command as a process, against a running service: Ctrl-C, failures, events as they come."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.daemon import Daemon

CREATE = ("create", "--image", "guest", "--memory", "16", "--name", "vm")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts the command; what is left of them is ended."""
    running: list[subprocess.Popen[str]] = []

    def begin(daemon: Daemon, *arguments: str) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FLYINGLOW_SERVICE": daemon.url}
        argv = [sys.executable, "-m", "flyinglow.cli", *arguments]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True, bufsize=1))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def entries(daemon: Daemon, start: Start) -> list[dict[str, Any]]:
    code, out, err = done(start(daemon, "list", "--json"))
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_ctrl_c_detaches_from_a_create_that_goes_on(daemon_factory: Callable[..., Daemon], start: Start) -> None:
    daemon = daemon_factory(nodectl={"simulated": {"delays": {"create": 20.0}}})
    process = start(daemon, *CREATE)
    first = line(process)  # the id is there at once
    assert line(process)  # and it waits
    process.send_signal(signal.SIGINT)
    code, _, err = done(process)
    assert code == 130
    assert "flyinglow wait" in err
    (entry,) = entries(daemon, start)
    assert entry["id"] in first
    code, out, err = done(start(daemon, "wait", "vm", "--timeout", "150"))
    assert (code, err) == (0, "")
    assert "vm Running" in out


def test_a_lease_that_fails_says_why_and_ends_with_9(daemon_factory: Callable[..., Daemon], start: Start) -> None:
    daemon = daemon_factory(
        nodectl={"simulated": {"failures": [{"order": "start", "kind": "broken", "message": "no such kernel"}]}}
    )
    code, out, err = done(start(daemon, *CREATE))
    assert code == 9
    assert "Corrupted" in out
    assert "vm is Corrupted: " in err
    assert "no such kernel" in err
    assert [entry["state"] for entry in entries(daemon, start)] == ["Corrupted"]


def test_watch_prints_events_until_the_end(daemon: Daemon, start: Start) -> None:
    assert done(start(daemon, *CREATE))[0] == 0
    told, asked = start(daemon, "watch", "vm"), start(daemon, "watch", "vm", "--poll")
    assert "Running" in line(told)
    assert "Running" in line(asked)
    code, out, _ = done(start(daemon, "destroy", "vm", "--wait"))
    assert code == 0
    assert "confirmed" in out
    code, out, err = done(told)
    assert (code, err) == (0, "")
    assert "destroyed by its owner" in out
    assert "is no more" in out.splitlines()[-1]
    assert done(asked)[0] == 0


def test_what_a_service_will_not_send_is_fetched_from_it(daemon_factory: Callable[..., Daemon], start: Start) -> None:
    daemon = daemon_factory(toml="")
    code, out, _ = done(start(daemon, *CREATE))
    assert code == 0
    assert "vm Running" in out
    watch = start(daemon, "watch", "vm")
    assert "Running" in line(watch)
    assert done(start(daemon, "destroy", "vm", "--wait"))[0] == 0
    code, out, err = done(watch)
    assert code == 0
    assert "fetching instead" in err
    assert "destroyed by its owner" in out


def test_help_comes_quickly() -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "flyinglow.cli", "--help"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "click" in loaded
    assert not loaded & {"lxml", "spyne", "sqlalchemy", "twisted", "zeep"}  # each takes longer than all the rest

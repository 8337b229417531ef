"""The cluster of the users' guide comes up as the guide says, by what its guests say on their own consoles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.demo import world
from rigs.daemon import environment
from rigs.guest import Guest

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("real-guest")]
ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "users" / "clusters.md"
STORY = ROOT / "tests" / "rigs" / "cluster_story.py"
SECONDS = 280


@pytest.fixture(scope="module")
def short_path() -> Iterator[Path]:
    """Give a directory whose path is short: nodes keep unix sockets in it."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.full)], ids=["two", "whole"])
def told(short_path: Path, guest_image: Guest, request: pytest.FixtureRequest) -> Any:
    """Give what came of the guide's own request: without its workers or, as it stands there, with two."""
    if os.geteuid() != 0 or not world.can_enter():
        pytest.skip("network namespaces need root")
    (block,) = re.findall(r"^```toml\n(# cluster\.toml\n.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (short_path / "cluster.toml").write_text(block)
    asked, site = short_path / "request.json", short_path / f"s{request.param}"
    asked.write_text(json.dumps({"file": str(short_path / "cluster.toml"), "workers": request.param}))
    site.mkdir()
    inside = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    argv = [*inside, "--", sys.executable, str(STORY), str(asked), json.dumps(guest_image.entry), str(site)]
    env = {**environment(), "PYTHONPATH": str(ROOT / "src")}  # the code beside this test, whatever is installed
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False, env=env, cwd="/")
    log = site / "serve.log"
    assert done.returncode == 0, done.stderr[-3000:] + (log.read_text()[-3000:] if log.exists() else "")
    return json.loads(done.stdout.splitlines()[-1])


def test_each_learns_what_the_others_found_out_after_their_boot(told: Any) -> None:
    guests = told["guests"]
    workers = sorted(name for name in guests if name.startswith("wn"))
    assert {name: status for name, (status, _) in guests.items()} == dict.fromkeys(("ce", "se", *workers), "ok")
    assert "GUEST-JOINED ok" in told["consoles"]["ce"]
    assert "GUEST-CTX| endpoint http://10.73.0.1:8482" in told["consoles"]["ce"]
    assert all(told["ready"].values())
    host_key = guests["se"][1]["hostkey"]
    assert host_key.startswith("ssh-ed25519 AAAA")
    for worker in workers:
        console = told["consoles"][worker]
        assert f"GUEST-VALUE se hostkey {host_key}" in console
        assert "GUEST-VALUE ce queue batch" in console
        assert "data comes from se:/srv/data" in console
        assert "comes from ce:batch" in console
        assert "GUEST-JOINED ok" in console
        assert "GUEST-CTX| endpoint http://10.73.0.1:8482" in console
    assert f"GUEST-VALUE se hostkey {host_key}" in told["consoles"]["ce"]


def test_nobody_is_running_before_the_last_has_reported(told: Any) -> None:
    events = told["events"]
    reported = [at for at, (_, _, _, _, guest) in enumerate(events) if guest == "ok"]
    running = [at for at, (_, state, task, _, _) in enumerate(events) if state == "Running" and task is None]
    assert len(reported) == len(running) == len(told["guests"])
    for name in told["guests"]:
        own = [(state, task, guest) for who, state, task, _, guest in events if who == name]
        assert own.index(("Propagated", "Starting", "ok")) < own.index(("Running", None, None))
    assert all(events[at][1:3] == ["Propagated", "Starting"] for at in reported)


def test_a_machine_that_fails_is_named_with_its_console(told: Any) -> None:
    (reason,) = {reason for _, reason in told["failed"].values()}
    assert {state for state, _ in told["failed"].values()} == {"Corrupted"}
    assert reason.startswith("member se: its guest reported an error: role storage-element: disk quota exceeded; ")
    assert "GUEST-ROLE provides storage-element failed" in reason
    assert "Bearer" not in reason
    assert not re.search(r"token [0-9a-f]{32}", reason)
    assert reason.isprintable()

"""Sharing, quotas and rates on a real service, by the command line and on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Disk, Part, connect
from flyinglow.nodectl.errors import ConflictError
from rigs.daemon import Daemon, environment, one_store
from rigs.soap import message

PART = Part(name="vm", memory_mb=32, disks=(Disk(image="guest"),))
TOML = """
[policy.all]
running = 3
minutes = 600
[access]
default_policy = "all"
[rates]
per_identity = 0.01
identity_burst = 60
local = true
"""


def cli(daemon: Daemon, *arguments: str) -> Any:
    program = Path(sys.executable).parent / "flyinglow"
    argv = [str(program), "--service", daemon.url, *arguments, "--json"]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=180, env=environment())
    return json.loads(done.stdout)


def post(daemon: Daemon) -> tuple[int, str | None, bytes]:
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=180)
    connection.request("POST", "/factory", message("<flf:List/>"), {"Content-Type": "text/xml"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("retry-after"), body


@one_store
def test_a_lease_is_shared_and_a_burst_is_told_when_to_come_again(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=TOML)
    whole = connect(daemon.url).create([PART], name="vm").whole
    assert [each["identity"] for each in cli(daemon, "share", "vm", "--with", "CN=Bob,O=Grid", "--full")] == [
        "CN=Bob,O=Grid"
    ]
    whole.delegate(group="atlas")
    assert {(each.identity, each.group, each.level) for each in whole.shares()} == {
        ("CN=Bob,O=Grid", None, "full"), (None, "atlas", "read"),
    }  # fmt: skip
    assert len(cli(daemon, "shares", "vm")) == 2
    assert len(cli(daemon, "unshare", "vm", "--group", "atlas")) == 1
    with pytest.raises(ConflictError):
        whole.revoke(group="atlas")
    found = cli(daemon, "quota")
    assert found["limits"]["running"] == {"limit": 3, "used": 1, "reserved": None}
    assert found["limits"]["minutes"]["limit"] == 600
    assert found["policies"] == ["all"]
    answers = [post(daemon) for _ in range(70)]
    late = [each for each in answers if each[0] != 200]
    assert {each[0] for each in late} == {429}
    assert all(int(each[1] or 0) > 0 for each in late)
    assert b"TransientFault" in late[0][2]
    assert b'name="retry.after"' in late[0][2]
    lines = daemon.admin("audit.list", last=3)
    assert [(line["operation"], line["outcome"]) for line in lines] == [
        ("Delegate", "done"), ("Revoke", "done"), ("Revoke", "ConflictFault"),
    ]  # fmt: skip

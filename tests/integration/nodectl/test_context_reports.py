"""A real guest on a bridge, told by a seed volume: it plays its roles, reports, learns of others, lets people in."""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.alone]
LISTENER = Path(__file__).parents[2] / "rigs/context_listener.py"
WORD = "6f1d3c0a9be24d7f8f0c2b7a51e8d934"
SECONDS = 180  # of a guest's boot, emulated, on a machine that has other work
MEMBERS = """\
member ce compute-element 10.79.0.11 public=public-11
member se storage-element 10.79.0.12,10.80.0.12 public=public-12 private=private-12
value se hostkey ssh-ed25519 AAAAse
value se export /srv with blanks
"""
HOOK = b"""#!/bin/sh
echo 'value queue a "batch\\queue"'
echo "value peers $(grep -c 10.79.0 /etc/hosts)"
"""
JOINED = b"#!/bin/sh\ngrep -q '^se,10.79.0.12,' ~/.ssh/known_hosts\n"


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        Path(folder).chmod(0o755)  # dnsmasq looks into it as nobody
        yield Path(folder)


def _file(path: str, data: bytes, mode: int) -> dict[str, Any]:
    return {"path": path, "content": base64.b64encode(data).decode(), "mode": mode}


def _key(folder: Path) -> tuple[Path, str]:
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path], check=True)
    return path, path.with_suffix(".pub").read_text().strip()


def test_a_guest_reports_and_learns_what_others_have_reported(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = new_space("one")
    space.bridge("pub", "10.79.0.1/24")
    identity, key = _key(tmp_path)
    answer, log = tmp_path / "answer", tmp_path / "asked"
    config = tmp_path / "n.json"
    plain = {"state": str(tmp_path / "node"), "run": str(run_folder / "n"), "node": "n", "watch_seconds": 0.1}
    config.write_text(json.dumps({**plain, "images": [str(IMAGES)], "bridges": ["pub"]}))
    context = (
        "name ce\nhostname public-11\nrole compute-element\nrequires storage-element\n"
        f"{key}\nendpoint http://10.79.0.1:8090/v1\ntoken {WORD}\n" + MEMBERS.split("value", maxsplit=1)[0]
    )
    told = {
        "context": context,
        "hostname": "public-11",
        "keys": [key],
        "delivery": "seed" if shutil.which("xorrisofs") else "auto",
        "files": [
            _file("/etc/flyinglow/roles/compute-element", HOOK, 0o755),
            _file("/etc/flyinglow/joined", JOINED, 0o755),
        ],
    }
    nic = {"network": "public", "mac": "02:00:0a:4f:00:0b", "ip": "10.79.0.11", "prefix": 24, "bridge": "pub"}
    listener = subprocess.Popen(space.argv(sys.executable, str(LISTENER), "10.79.0.1", "8090", str(answer), str(log)))
    try:
        with AgentProcess(config, space.argv()) as agent:
            agent.order("create", "a1", **guest_image.spec("a1", nics=[{**nic, "hostname": "public-11"}], **told))
            pid = agent.order("start", "a1")["pid"]
            agent.news("a1", ready=True)

            def says(line: str) -> list[str] | None:
                data = base64.b64decode(agent.order("console", "a1")["data"]).decode(errors="replace")
                return data.splitlines() if line in data.splitlines() else None

            lines = eventually(lambda: says("GUEST-REPORTED ok"), SECONDS)
            assert "GUEST-ROLE provides compute-element ok" in lines
            assert "GUEST-ROLE requires storage-element se 10.79.0.12,10.80.0.12" in lines
            assert "GUEST-HOSTS 3" in lines
            eventually(lambda: "/members" in log.read_text(), SECONDS)
            assert not any(line.startswith("GUEST-JOINED") for line in says("GUEST-REPORTED ok") or [])
            answer.write_text(MEMBERS)
            lines = eventually(lambda: says("GUEST-JOINED ok"), SECONDS)
            assert "GUEST-VALUE se hostkey ssh-ed25519 AAAAse" in lines
            assert "GUEST-VALUE se export /srv with blanks" in lines
            assert WORD not in "\n".join(lines)
            assert WORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()

            asked = [json.loads(line) for line in log.read_text().splitlines()]
            assert {each["word"] for each in asked} == {f"Bearer {WORD}"}
            (report,) = (each for each in asked if each["path"] == "/v1/report")
            assert report["type"] == "application/json"
            body = json.loads(report["body"])
            host_key = body["values"].pop("hostkey")
            assert body == {
                "status": "ok", "message": "", "values": {"queue": 'a "batch\\queue"', "peers": "2"},
            }  # fmt: skip

            known = tmp_path / "known_hosts"
            known.write_text(f"10.79.0.11 {host_key}\n")
            options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
            said = space.run(
                "ssh", "-i", str(identity), "-F", "none", *options, "root@10.79.0.11", "hostname; cat /etc/hostname"
            )
            assert said.split() == ["public-11", "public-11"]
            agent.order("destroy", "a1")
    finally:
        listener.kill()
        listener.wait()
    assert not (tmp_path / "node/vms/a1").exists()

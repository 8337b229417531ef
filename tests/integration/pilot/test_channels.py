"""HTTPS with the site's own authority, and the second channel by SSH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyinglow.nodectl.errors import TransientError
from flyinglow.pilot.messages import Message, message, opened, verify
from flyinglow.pilot.ssh import Ssh
from rigs.pilot_agent import BASE
from rigs.pilot_service import JOB_KEY, PilotService
from rigs.pilot_site import Site
from rigs.sshd import NODE, SshNode
from rigs.waiting import eventually


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate that is its own authority."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


def test_a_life_over_https(each_python: Site, tmp_path: Path) -> None:
    site = each_python
    site.service.down()
    files = certificate(tmp_path, "localhost")
    site.service = PilotService(certificate=files)
    site.service.up()
    pilot = site.start(certificate=files[0].read_text())
    site.service.report("t1.0", "ready")
    assert site.service.answer_to("t1.0", site.service.order("t1.0", "list", None))["ok"] is True
    pilot.signal()
    site.service.stand("t1.0", end=True)
    site.service.report("t1.0", "released")
    assert pilot.exit() == 0, pilot.log


@pytest.mark.parametrize("name", ["another.host", "untrusted"])
def test_a_service_that_cannot_prove_who_it_is_hears_nothing(bare_site: Site, tmp_path: Path, name: str) -> None:
    site = bare_site
    files = certificate(tmp_path, name if name != "untrusted" else "localhost")
    site.service = PilotService(certificate=files)
    site.service.up()
    (tmp_path / "other").mkdir()
    trusted = files[0] if name != "untrusted" else certificate(tmp_path / "other", "localhost")[0]
    pilot = site.start(certificate=trusted.read_text())
    eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in pilot.log)
    assert site.service.heard == []


SPOOL = """\
import fcntl, os, sys
with open(sys.argv[1], "ab") as spool:
    fcntl.flock(spool, fcntl.LOCK_EX)
    spool.write(sys.stdin.buffer.read())
    spool.flush()
    os.fsync(spool.fileno())
"""


@pytest.mark.root
def test_reports_go_by_ssh_while_http_fails_and_are_not_taken_twice(
    site: Site, ssh_node: SshNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, program = tmp_path / "spool", tmp_path / "append.py"
    program.write_text(SPOOL)
    ssh_node.allow(f"{sys.executable} {program} {spool}")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").write_text(
        ssh_node.ssh.read_text().replace("exec ip", "exec /sbin/ip").replace('ssh "$@"', '/usr/bin/ssh "$@"')
    )
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    files = {"identity": str(ssh_node.identity), "known_hosts": str(ssh_node.known_hosts)}
    channel = {"address": NODE, "port": 22, "user": "root", **files}
    site.misbehave("slow-reserve")  # nothing is served yet, so that giving back need not wait for the service
    pilot = site.start(ssh=channel, grace=240.0, share=0.5, patience=30.0)
    eventually(lambda: "acknowledged" in pilot.log and (site.node / "log").exists() and "reserve" in site.agent_log)
    site.service.down()
    pilot.signal()
    eventually(lambda: "signalled" in pilot.log)
    (site.node / "go").touch()
    assert pilot.exit() == 0, pilot.log
    assert site.memory == BASE
    reports = [_read(line) for line in dict.fromkeys(spool.read_bytes().splitlines())]  # one may be said again
    assert [said.kind.value for said in reports] == ["signalled", "released"]
    assert [said.sequence for said in reports] == [2, 3]

    ssh_node.trust(ssh_node.another_key())  # a host that is not the one that is known
    before = spool.read_bytes()
    with pytest.raises(TransientError, match="ssh ended with 255"):
        Ssh(channel).append(b"{}\n", 120.0)
    assert spool.read_bytes() == before


def _read(line: bytes) -> Message:
    fields, text, mac = opened(line)
    verify("22" * 32, text, mac)
    assert JOB_KEY.encode() not in line
    return message(fields)

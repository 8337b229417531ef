"""The doctor's job and where it reports to, without a scheduler: real sockets, TLS, signals, an old Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.configuration.settings import NodeListener
from flyinglow.server.doctor import probe as doctor_probe
from flyinglow.server.doctor.hearing import Hearing

PROGRAM = doctor_probe.__file__
HELLO = ["printf", '{"news": "hello", "body": {"version": "9"}}\n']


@pytest.fixture
def secured(tmp_path: Path) -> NodeListener:
    """Give a listener with a certificate of its own for 127.0.0.1."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return NodeListener(port=0, certificate=certificate, private_key=key)


@pytest.fixture
def plain() -> NodeListener:
    return NodeListener(port=0)


def heard(hearing: Hearing) -> Iterator[dict[str, Any]]:
    while (one := hearing.next(120)) is not None:
        yield one


def settings(hearing: Hearing, tmp_path: Path, **changes: Any) -> bytes:
    log = tmp_path / "fl-d1.log"
    log.write_text("")
    told = {
        "url": hearing.url, "service": None, "certificate": "", "agent": HELLO, "patience": 20.0, "log": str(log),
    }  # fmt: skip
    return json.dumps({**told, **changes}).encode() + b"\n"


def started(python: str, told: bytes, tmp_path: Path) -> subprocess.Popen[bytes]:
    file = tmp_path / "settings"
    file.write_bytes(told)
    argv = [python, "-I", "-S", PROGRAM, "--rank", "0", "--node", "n7"]
    with file.open("rb") as stdin:
        return subprocess.Popen(argv, stdin=stdin, stderr=subprocess.PIPE)


def test_the_first_signal_is_told_until_the_end_and_the_log_is_gone(plain: NodeListener, tmp_path: Path) -> None:
    with Hearing(plain, "http://127.0.0.1:1", port=0) as hearing:
        process = started(sys.executable, settings(hearing, tmp_path), tmp_path)
        try:
            said = heard(hearing)
            first = next(said)
            assert (first["what"], first["python"], first["node"]) == ("started", sys.version.split()[0], "n7")
            assert next(said) == {"what": "agent", "version": "9", "said": ""}
            assert next(said) == {"what": "alive", "signal": None, "since": None}
            for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGXCPU):
                process.send_signal(number)
            noticed = [one for one, _ in zip((each for each in said if each["signal"]), range(4), strict=False)]
            assert {one["signal"] for one in noticed} == {"SIGUSR2"}
            assert [one["since"] for one in noticed] == sorted(one["since"] for one in noticed)
        finally:
            process.kill()
            process.communicate()
    assert not (tmp_path / "fl-d1.log").exists()


def test_an_old_python_says_so_over_tls_and_what_it_lacks(secured: NodeListener, tmp_path: Path) -> None:
    versions = map(str, Path.home().glob(".pyenv/versions/3.9*/bin/python3.9"))
    python = next(versions, None) or shutil.which("python3.9") or sys.executable
    assert secured.certificate is not None
    with Hearing(secured, "https://127.0.0.1:1", port=0) as hearing:
        told = settings(
            hearing, tmp_path, certificate=secured.certificate.read_text(), agent=["false"], patience=0.0,
            service="http://127.0.0.1:9/pilot/1",
        )  # fmt: skip
        process = started(python, told, tmp_path)
        _, errors = process.communicate(timeout=180)
        said = {one["what"]: one for one in iter(lambda: hearing.next(0.1), None)}
    assert process.returncode == 0, errors
    assert said["agent"]["version"] is None
    assert said["service"]["reached"] is False
    assert "refused" in said["service"]["said"]
    assert "patience" in said


def test_a_certificate_that_nobody_vouches_for_is_not_believed(secured: NodeListener, tmp_path: Path) -> None:
    with Hearing(secured, "https://127.0.0.1:1", port=0) as hearing:
        process = started(sys.executable, settings(hearing, tmp_path, patience=0.0), tmp_path)
        _, errors = process.communicate(timeout=180)
        assert hearing.next(0.1) is None
    assert b"CERTIFICATE_VERIFY_FAILED" in errors


def test_who_does_not_know_the_path_is_not_heard(plain: NodeListener) -> None:
    import urllib.error
    import urllib.request

    with Hearing(plain, "http://127.0.0.1:1", port=0) as hearing:
        for url, data in ((f"http://127.0.0.1:{hearing.port}/", b"{}"), (hearing.url, b"[1]")):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url, data=data, timeout=120)
            assert caught.value.code in {400, 404}
            caught.value.close()
        assert hearing.next(0.1) is None


def test_a_port_that_is_taken_is_named(plain: NodeListener) -> None:
    with Hearing(plain, "http://127.0.0.1:1", port=0) as hearing, pytest.raises(BrokenError, match=str(hearing.port)):
        Hearing(plain, "http://127.0.0.1:1", port=hearing.port)


def test_the_program_finds_what_a_service_answers_enough(plain: NodeListener, tmp_path: Path) -> None:
    with Hearing(plain, "http://127.0.0.1:1", port=0) as hearing:
        url = f"http://127.0.0.1:{hearing.port}/pilot/1"
        probe = doctor_probe.Probe(json.loads(settings(hearing, tmp_path, service=url, agent=["/no/such"])))
        assert probe.service()["reached"] is True
        assert "No such file" in probe.agent()["said"]
        probe.leave_nothing()
        probe.leave_nothing()  # gone already
        assert doctor_probe.node_name() == os.uname().nodename

"""The real service over TLS: callers by certificate and by proxy, through the client library and the command line."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509

from flyinglow.client import Disk, Nic, Part
from flyinglow.nodectl.errors import BrokenError, DeniedError, UnknownError
from rigs.authority import LIMITED
from rigs.daemon import Daemon
from rigs.grid import Grid, url

pytestmark = pytest.mark.xdist_group("grid-identity")

PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
Eventually = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Grid, Daemon]]:
    """A grid and its service."""
    root = tmp_path_factory.mktemp("fl")
    grid = Grid(root)
    daemon = Daemon(root, options={"client": grid.keys})
    try:
        daemon.start()
        yield grid, daemon
        daemon.stop()
    finally:
        daemon.clean_up()


def test_a_lease_is_the_callers_own_by_certificate_and_by_proxy_alike(served: tuple[Grid, Daemon]) -> None:
    grid, daemon = served
    alice, bob = grid.root.issue("Alice"), grid.root.issue("Bob")
    lease = grid.site(daemon, alice, "alice").create([PART], name="wn")
    assert lease.whole.url.startswith("https://")
    stranger = grid.site(daemon, bob, "bob")
    assert list(stranger.list()) == []
    with pytest.raises(UnknownError):
        stranger.resource(lease.whole.epr).properties()
    with pytest.raises(UnknownError):
        stranger.resource(lease.whole.epr).destroy()
    again = grid.site(daemon, alice.proxy(), "proxy")
    assert [entry.name for entry in again.list()] == ["wn"]
    again.resource(lease.whole.epr).wait("Running", timeout=120)
    again.resource(lease.whole.epr).destroy()


def test_a_limited_proxy_may_see_and_end_but_not_lease(served: tuple[Grid, Daemon]) -> None:
    grid, daemon = served
    frank = grid.root.issue("Frank")
    lease = grid.site(daemon, frank, "frank").create([PART], name="wn")
    limited = grid.site(daemon, frank.proxy(language=LIMITED), "limited")
    with pytest.raises(DeniedError, match="limited proxy"):
        limited.create([PART], name="more")
    limited.resource(lease.whole.epr).properties()
    limited.resource(lease.whole.epr).destroy()
    assert [entry.state for entry in limited.list() if entry.state == "Running"] == []


def test_the_command_line_shows_a_proxy(served: tuple[Grid, Daemon]) -> None:
    grid, daemon = served
    proxy = grid.root.issue("Carol").proxy(path_length=0).write_proxy(grid.directory / "x509up")
    there = {"X509_USER_PROXY": str(proxy), "X509_CERT_DIR": str(grid.authorities), "FLYINGLOW_SERVICE": url(daemon)}
    certificate, key = grid.root.issue("Carol").write(grid.directory, "carol")

    def flyinglow(*words: str, **environment: str) -> str:
        env = {**{name: value for name, value in os.environ.items() if not name.startswith("X509")}, **environment}
        argv = [sys.executable, "-m", "flyinglow.cli", *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180, check=False)
        return done.stdout + done.stderr

    request = ["create", "--name", "hers", "--image", "guest", "--network", "private", "--memory", "64"]
    assert "hers" in flyinglow(*request, **there)
    by_options = ["--cert", str(certificate), "--key", str(key), "--ca-dir", str(grid.authorities)]
    assert "hers" in flyinglow(*by_options, "--service", url(daemon), "list")
    assert "denied" in flyinglow("--json", "--service", url(daemon), "list", X509_CERT_DIR=str(grid.authorities))
    assert "hers" in flyinglow("destroy", "hers", **there)


def test_who_shows_nothing_or_trusts_nobody_hears_why(served: tuple[Grid, Daemon]) -> None:
    grid, daemon = served
    with pytest.raises(DeniedError, match="certificate required"):
        grid.site(daemon, None).offers()
    (grid.directory / "other").mkdir()
    other = Grid(grid.directory / "other")
    with pytest.raises(BrokenError, match="does not prove who it is"):
        other.site(daemon, other.root.issue("Alice")).offers()


def test_the_contract_names_the_service_by_https(served: tuple[Grid, Daemon]) -> None:
    grid, daemon = served
    context = grid.shown(grid.root.issue("Alice"), "reader").context()
    from urllib.request import urlopen

    with urlopen(f"{url(daemon)}/factory?wsdl", context=context, timeout=120) as answer:
        assert f'location="{url(daemon)}/factory"'.encode() in answer.read()


def test_certificates_and_crls_are_read_anew_without_a_restart(
    served: tuple[Grid, Daemon], eventually: Eventually
) -> None:
    grid, daemon = served
    dora = grid.root.issue("Dora")
    before = grid.site(daemon, dora, "dora")
    before.offers()
    grid.root.revoked.append(dora.certificate.serial_number)
    grid.root.install(grid.authorities, crl=grid.root.crl())
    fresh = grid.root.host()
    certificate, key = grid.host
    key.write_bytes(fresh.key_pem)
    certificate.write_bytes(fresh.pem)
    os.kill(daemon.pid, signal.SIGHUP)
    eventually(lambda: _served_by(daemon) == fresh.certificate)
    with pytest.raises(DeniedError, match="was revoked"):
        before.offers()  # on the connection that it has kept
    with pytest.raises(DeniedError, match="revoked"):
        grid.site(daemon, dora, "dora").offers()
    grid.site(daemon, grid.root.issue("Erin"), "erin").offers()


def _served_by(daemon: Daemon) -> x509.Certificate:
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", daemon.port)).encode())

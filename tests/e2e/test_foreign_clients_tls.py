"""SOAP stacks that we did not write are known by certificate and by token over TLS, and see only what is theirs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rigs.daemon import Daemon
from rigs.grid import Grid
from rigs.key_server import bearer, key_server
from rigs.waiting import eventually

pytestmark = pytest.mark.xdist_group("foreign-clients-tls")

CLIENTS = Path(__file__).parent / "clients"
PORTAL = Path(__file__).parents[2] / "docs" / "users" / "portal"
STACKS = {
    "zeep": (sys.executable, "lease_zeep.py", "1.2"),
    "php": ("php", "lease.php", "1.1"),
    "node": ("node", "lease.js"),
    "suds": (sys.executable, "lease_suds.py"),
}
Served = tuple[Grid, Daemon]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that takes certificates and tokens, and its authority."""
    root = tmp_path_factory.mktemp("fl")
    grid = Grid(root)
    with key_server(root) as keys:
        client = f'{grid.keys}\nclient_certificates = "optional"\nsignatures = "beside"'
        slowly = {"simulated": {"delays": {"start": 3}}}  # so that there is an event to wait for
        daemon = Daemon(root, options={"client": client, "toml": keys.toml(), "nodectl": slowly})
        (root / "ca.pem").write_text(grid.root.certificate_pem)
        try:
            daemon.start()
            eventually(lambda: keys.asked)
            yield grid, daemon
            daemon.stop()
        finally:
            daemon.clean_up()


def run(
    stack: str, served: Served, credential: str, program: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a client (or the portal of the guide) with a certificate, a token or nothing."""
    grid, daemon = served
    shown = {"CA": str(grid.directory / "ca.pem")}
    if credential == "certificate":
        pair = rsa.generate_private_key(65537, 2048) if stack == "node" else None  # it signs by RSA only
        certificate, key = grid.root.issue(stack, key=pair).write(grid.directory, stack)
        shown |= {"CERTIFICATE": str(certificate), "KEY": str(key)}
    elif credential == "token":
        shown["TOKEN"] = bearer(stack)
    interpreter, *words = STACKS[stack]
    found = shutil.which(interpreter) or pytest.fail(f"there is no {interpreter}: see `make packages clients`")
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environment |= {"NODE_PATH": str(CLIENTS / "node_modules"), **shown, **more}
    argv = [found, str(program or CLIENTS / words[0]), daemon.url, "foreign", *words[1:]]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=environment)


SOON = [("php", "certificate"), ("node", "token"), ("suds", "token")]  # the portals below are the other ways about
LATER = [("zeep", "certificate"), ("zeep", "token"), ("php", "token"), ("node", "certificate"), ("suds", "certificate")]


@pytest.mark.parametrize(
    ("stack", "credential"), [*SOON, *(pytest.param(*each, marks=pytest.mark.full) for each in LATER)]
)
def test_a_foreign_client_leases_over_tls(served: Served, stack: str, credential: str) -> None:
    done = run(stack, served, credential)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["address"] == f"{served[1].url}/workspace"
    assert found["states"][-1] == "Running"
    assert found["afterwards"] == "ResourceUnknownFault"


@pytest.mark.parametrize(
    "stack", ["zeep", *(pytest.param(each, marks=pytest.mark.full) for each in ("php", "node", "suds"))]
)
def test_a_foreign_client_without_a_credential_is_told_so(served: Served, stack: str) -> None:
    done = run(stack, served, "nothing")
    assert done.returncode != 0
    assert ("401" if stack == "suds" else "no credential") in done.stdout + done.stderr


PORTALS = [
    ("zeep", "portal_zeep.py", "token", {}),
    ("zeep", "portal_zeep.py", "certificate", {"SIGN": "yes"}),
    ("php", "portal.php", "token", {}),
    ("node", "portal.js", "certificate", {}),
    ("node", "portal.js", "certificate", {"SIGN": "yes"}),
]


@pytest.mark.parametrize(("stack", "name", "credential", "more"), PORTALS)
def test_the_portals_of_the_guide_work(
    served: Served, stack: str, name: str, credential: str, more: dict[str, str]
) -> None:
    def tried() -> subprocess.CompletedProcess[str] | None:
        done = run(stack, served, credential, PORTAL / name, **more)
        return None if "just started" in done.stderr else done  # which it says of signed messages, for a moment

    done: subprocess.CompletedProcess[str] = eventually(tried)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["same"] is True
    assert found["states"][-1] == "Running"
    assert (found["too_much"]["kind"], found["too_much"]["retry"]) == ("never", False)
    assert found["too_much"]["figures"]["memory_mb.asked"] == 1 << 20
    assert found["gone"] == "ResourceUnknownFault"


def test_the_command_line_shows_a_token(served: Served) -> None:
    grid, daemon = served
    file = grid.directory / "token"
    file.touch(0o600)
    file.write_text(bearer("carol"))
    words = ["--ca-dir", str(grid.authorities), "--token-file", str(file), "--json", "--service", daemon.url, "list"]
    argv = [sys.executable, "-m", "flyinglow.cli", *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("X509")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    file.write_text(bearer("carol", aud="other"))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode != 0
    assert "meant for another service" in done.stdout + done.stderr

"""Ways between pilots and the service on a real Slurm: HTTPS with a certificate of the site, and reports by SSH.

Pilots are unprivileged jobs on other machines than the service; the sshd is a real one on the service's machine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.intake import spool
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import NODE_PORT, SUDOERS
from flyinglow.cli.demo.slurm_world import USERS, SlurmWorld
from flyinglow.cli.demo.spaces import PATH
from rigs.lease_story import calm, mine, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, lrm_service
from rigs.slurm import slurm_world

MISSING = [name for name in ("openssl", "ssh-keygen", "sshd") if shutil.which(name, path=PATH) is None]
pytestmark = [
    pytest.mark.xdist_group("slurm-channels"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

GRACE = 60  # nothing here waits for it to be over
SHARE = 0.05  # of the grace, for which pilots wait for the service
SSH_PORT = 2222
TABLE = {"lrm": "slurm", "grace": GRACE, "share": SHARE}


@pytest.fixture(scope="module")
def world() -> Iterator[SlurmWorld]:
    """Give a Slurm of two nodes."""
    with slurm_world(2, sudoers=SUDOERS, kill_wait=GRACE) as made:
        yield made


def ours(path: Path) -> Path:
    """Give a file to the service's user alone."""
    shutil.chown(path, USERS["lease"])
    path.chmod(0o600)
    return path


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=180)


# HTTPS


def self_signed(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for the head's address, which is its own authority, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=head", "-addext", f"subjectAltName=IP:{HEAD_ADDRESS}", "-keyout", str(key), "-out"]
    run(*words, str(certificate))
    return ours(certificate), ours(key)


@contextlib.contextmanager
def secured(world: SlurmWorld, trusted: str) -> Iterator[LrmService]:
    """Give a service whose node listener speaks TLS only; pilots trust the certificate of this name."""
    served, key = self_signed(world.directory, "served")
    others, _ = self_signed(world.directory, "others")
    authority = {"served": served, "others": others}[trusted]
    with lrm_service(world, HEAD_ADDRESS, {**TABLE, "certificate": str(authority), "grace": 4}, start=False) as service:
        config = service.lrm_site.config
        text = config.read_text()
        assert "insecure = true" in text
        config.write_text(text.replace("insecure = true", f'certificate = "{served}"\nprivate_key = "{key}"'))
        service.start()
        try:
            yield service
        finally:
            tidy(service)
            service.wait(lambda: not mine(service), "the end of all jobs")


def test_a_lease_lives_over_https_from_the_pilots_to_the_service(world: SlurmWorld) -> None:
    with secured(world, "served") as service:
        with telling(service, part(2), name="secured") as story:
            story.running()
            plain = f"import urllib.request; urllib.request.urlopen('http://{HEAD_ADDRESS}:{NODE_PORT}/', timeout=10)"
            said = slurm(service).run_on("node1", [sys.executable, "-c", plain], check=False).stderr
            assert "RemoteDisconnected" in said or "ConnectionReset" in said, said
            story.lease.whole.destroy()
        calm(service)


def test_pilots_say_nothing_to_a_service_that_has_not_the_sites_certificate(world: SlurmWorld) -> None:
    with secured(world, "others") as service, telling(service, part(1), name="other") as story:
        service.wait(lambda: any("RUNNING" in line for line in mine(service)), "the job's start")
        log = world.jobs / f"{story.job['job']}.log"
        service.wait(lambda: log.exists() and "CERTIFICATE_VERIFY_FAILED" in log.read_text(), "the pilot's refusal")
        assert not service.slots("Bound", "Ready")
        story.lease.whole.destroy()


# SSH


class Spool:
    """An account of the head that can do one thing, and what pilots need to reach it."""

    def __init__(self, world: SlurmWorld) -> None:
        self.world = world
        self.directory = world.directory / "ssh"
        self.directory.mkdir(mode=0o755)
        self.file = self.directory / "spool" / "reports"
        self.file.parent.mkdir()
        shutil.chown(self.file.parent, USERS["lease"])
        for name in ("host", "identity"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.directory / name))
        host = (self.directory / "host.pub").read_text()
        self._write("known_hosts", f"[{HEAD_ADDRESS}]:{SSH_PORT} {host}")
        program = self._write("spool.py", Path(spool.__file__).read_text())
        command = f"/usr/bin/python3 {program} append {self.file}"
        key = (self.directory / "identity.pub").read_text()
        self._write("authorized_keys", f'restrict,command="{command}" {key}')

    def _write(self, name: str, text: str) -> Path:
        file = self.directory / name
        file.write_text(text)
        return file

    @property
    def options(self) -> dict[str, Any]:
        """What the site's configuration says of it."""
        identity = ours(self.directory / "identity")
        files = {"identity": str(identity), "known_hosts": str(self.directory / "known_hosts")}
        return {"spool": str(self.file), "ssh": {"address": HEAD_ADDRESS, "port": SSH_PORT, "user": "lease", **files}}

    def said(self, kind: str) -> set[str]:
        """Return the slots of which there is such a report in the spool; one may be said more than once."""
        signed = [json.loads(json.loads(line)["signed"]) for line in self.file.read_text().splitlines()]
        return {report["slot"] for report in signed if report["kind"] == kind}

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Run the sshd on the head."""
        lines = [f"ListenAddress {HEAD_ADDRESS}", f"Port {SSH_PORT}", f"HostKey {self.directory}/host", "PidFile none"]
        lines += [f"AuthorizedKeysFile {self.directory}/authorized_keys", "StrictModes no", "UsePAM no"]
        config = self._write("sshd_config", "\n".join([*lines, "PasswordAuthentication no", ""]))
        self.world.run_in_head(["mkdir", "-p", "/run/sshd"])
        with (self.directory / "log").open("ab") as log:
            server = self.world.spawn_in_head(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=log)
        try:
            yield
        finally:
            server.terminate()
            server.wait(120)


def test_what_pilots_said_by_ssh_while_the_service_was_away_is_believed(world: SlurmWorld) -> None:
    way = Spool(world)
    with way.serving(), lrm_service(world, HEAD_ADDRESS, {**TABLE, **way.options}) as service:
        with telling(service, part(2), name="by-ssh") as story:
            story.running()
            job = story.job
            assert not way.file.exists(), "HTTP worked, so nothing was said by SSH"
            service.kill()
            began = time.monotonic()
            slurm(service).run_in_head(["scancel", job["id"]])
            service.wait(lambda: not mine(service), "the end of the job")
            assert time.monotonic() - began < GRACE
            assert len(way.said("released")) == 2
            service.start()
            assert "SIGTERM" in story.cancelled()
        calm(service)

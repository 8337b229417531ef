"""Fetch from and send to hosts by SSH: OpenSSH's own sftp, told everything on its standard input.

The host must be known and the node's key must be let in: nothing is asked and nothing is believed at first sight.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from flyinglow.nodectl.errors import BrokenError, DeniedError, FlyingLowError, InvalidError, TransientError
from flyinglow.nodectl.images import publicly
from flyinglow.nodectl.images.address import PORTS, Address
from flyinglow.nodectl.images.meter import Meter

LISTED = re.compile(r"^([-a-z])\S*\s+\S+\s+\S+\s+\S+\s+(\d+)\s", re.MULTILINE)
TAIL = 300
TURN = 0.05  # seconds between two looks at how far it is


@dataclass(frozen=True)
class Ssh:
    """One file on a host that is reached by SSH."""

    address: Address
    sftp: str = "sftp"
    identity: str | None = None
    known_hosts: str | None = None
    timeout: float = 30.0
    number: str | None = None  # what is connected to in place of the host's name, which still has to be known
    public: bool = False  # fetched from a public address only
    behind = None

    def fetch(self, part: Path, meter: Meter) -> None:
        """Append to ``part`` what it lacks.

        Raises TransientError when it is worth another try, else what is wrong.
        """
        if self.public:
            number = publicly.address_of(self.address.host, self.address.port)
            replace(self, number=number, public=False).fetch(part, meter)
            return
        total = self._size(meter)
        meter.expect(total)
        part.touch()
        if part.stat().st_size > total:
            part.write_bytes(b"")
        self._run(f'get -a "{self.address.path}" "{part}"', meter, part, total)
        if part.stat().st_size != total:
            raise TransientError(f"{self.address} broke off after {part.stat().st_size} of {total} bytes")

    def send(self, file: Path, meter: Meter) -> None:
        """Put a file there, which has its name when it is there as a whole. Raises as ``fetch`` does."""
        half, whole = f"{self.address.path}.part", self.address.path
        meter.at(0, file.stat().st_size)
        self._run(f'put "{file}" "{half}"\nrename "{half}" "{whole}"', meter)

    def remove(self) -> None:
        """Take back what was sent; done when it is not there."""
        whole = self.address.path
        self._run(f'-rm "{whole}.part"\n-rm "{whole}"', Meter(str(self.address), 0, time.monotonic))

    def _size(self, meter: Meter) -> int:
        found = LISTED.search(self._run(f'ls -ln "{self.address.path}"', meter))
        if found is None or found[1] != "-":
            raise InvalidError(f"{self.address} is not a regular file")
        return int(found[2])

    def _run(self, batch: str, meter: Meter, grows: Path | None = None, total: int | None = None) -> str:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
            child = self._start(batch, out, complaints)
            try:
                while child.poll() is None:
                    if grows is None:
                        meter.check()
                    else:
                        meter.at(grows.stat().st_size, total)
                    _wait(child)
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
            if child.returncode != 0:
                raise self._refusal(_text(complaints))
            return _text(out)

    def _start(self, batch: str, out: IO[bytes], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as told:
            told.write(batch.encode() + b"\n")
            told.seek(0)
            try:
                return subprocess.Popen(self._words(), stdin=told, stdout=out, stderr=complaints)
            except OSError as error:
                raise BrokenError(f"{self.sftp} cannot be run on this node: {error.strerror}") from error

    def _words(self) -> list[str]:
        options = [
            "LogLevel=ERROR",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"ConnectTimeout={max(1, int(self.timeout))}",
        ]
        options += ["ServerAliveInterval=10", "ServerAliveCountMax=3", "ForwardAgent=no", "ClearAllForwardings=yes"]
        if self.known_hosts:
            options += [f"UserKnownHostsFile={self.known_hosts}", "GlobalKnownHostsFile=none"]
        if self.number:
            options += [f"HostKeyAlias={self._alias()}"]
        if self.identity:
            options += [f"IdentityFile={self.identity}", "IdentitiesOnly=yes"]
        words = [self.sftp, "-F", "none", "-b", "-", "-P", str(self.address.port)]
        words += [word for option in options for word in ("-o", option)]
        there = self.number or self.address.host
        host = f"[{there}]" if ":" in there else there
        return [*words, "--", host if self.address.user is None else f"{self.address.user}@{host}"]

    def _alias(self) -> str:
        """Return the name by which the host's key is known."""
        port = self.address.port
        return self.address.host if port == PORTS["scp"] else f"[{self.address.host}]:{port}"

    def _refusal(self, complaint: str) -> FlyingLowError:
        words = f"{self.address}: {complaint.strip()[-TAIL:] or 'sftp failed'}"
        if "not found" in complaint or "No such file" in complaint:
            return InvalidError(words)
        if "Host key verification failed" in complaint or "Permission denied" in complaint:
            return DeniedError(words)
        return TransientError(words)


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(TURN)
    except subprocess.TimeoutExpired:
        return


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(1 << 16).decode(errors="replace")

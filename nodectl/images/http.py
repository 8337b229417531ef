"""Fetch from and send to web servers: resumable where they can resume, never led to another server.

Only the standard library, no proxy, no compression: what is stored is what was sent, byte by byte.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from flyinglow.nodectl.errors import BrokenError, DeniedError, FlyingLowError, InvalidError, TransientError
from flyinglow.nodectl.images import address, publicly
from flyinglow.nodectl.images.address import Address
from flyinglow.nodectl.images.meter import Meter

if TYPE_CHECKING:
    import http.client

CHUNK = 1 << 18
HOPS = 3
CONNECTING = 10.0  # seconds for a server that does not even refuse
TURN = 0.1  # seconds between two looks at whether a silent transfer is still wanted
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)\Z")
MOVED = (301, 302, 303, 307, 308)
BUSY = (408, 425, 429, 500, 502, 503, 504)
ABSENT = (404, 410)
FORBIDDEN = (401, 403, 407)
OK, PARTIAL, PAST = 200, 206, 416


@dataclass(frozen=True)
class Web:
    """One file on a web server."""

    address: Address
    timeout: float = 30.0
    authorities: str | None = None  # PEM file of the authorities that are trusted; None: the node's own
    bearer: str = field(default="", repr=False)  # the key of an offer, where the server is another node
    public: bool = False  # whether to connect to public addresses only
    behind = None

    def fetch(self, part: Path, meter: Meter) -> None:
        """Append to ``part`` what it lacks; from the beginning where the server cannot resume.

        Raises TransientError when it is worth another try, else what is wrong.
        """
        with self._errors():
            have = part.stat().st_size if part.exists() else 0
            with self._asked(have, meter) as reply:
                self._receive(reply, part, have, meter)

    def send(self, file: Path, meter: Meter) -> None:
        """PUT a file, which is there as a whole or not at all. Raises as ``fetch`` does."""
        size = file.stat().st_size
        headers = {**self._headers(), "Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with self._errors(), self._connection(meter) as connection, file.open("rb") as stream:
            connection.putrequest("PUT", self.address.target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            done = 0
            while chunk := stream.read(CHUNK):
                connection.send(chunk)
                done += len(chunk)
                meter.at(done, size)
            status = connection.getresponse().status
        if status not in (200, 201, 204):
            raise self._refusal(status)

    def remove(self) -> None:
        """Take back what was sent; done when it is not there."""
        with self._errors(), self._connection() as connection:
            connection.request("DELETE", self.address.target, headers=self._headers())
            connection.getresponse().read(CHUNK)

    @contextlib.contextmanager
    def _asked(self, have: int, meter: Meter) -> Iterator[http.client.HTTPResponse]:
        here = self
        for _ in range(HOPS + 1):
            with here._connection(meter) as connection:
                ranged = {"Range": f"bytes={have}-"} if have else {}
                connection.request("GET", here.address.target, headers={**here._headers(), **ranged})
                reply = connection.getresponse()
                if reply.status not in MOVED:
                    yield reply
                    return
                here = replace(here, address=self._next(here.address, reply.getheader("Location") or ""))
        raise InvalidError(f"{self.address} leads round in circles")

    def _next(self, here: Address, location: str) -> Address:
        try:
            there = address.read(urljoin(f"{here.scheme}://{_netloc(here)}{here.target}", location))
        except ValueError:
            raise InvalidError(f"{self.address} leads to what is no URI") from None
        if there.authority != self.address.authority:
            raise DeniedError(f"{self.address} leads to another server ({there.scheme}://{there.host}): not followed")
        return replace(there, user=self.address.user, password=self.address.password)

    def _receive(self, reply: http.client.HTTPResponse, part: Path, have: int, meter: Meter) -> None:
        begin, total = self._begin(reply, have)
        if begin is None:
            return
        meter.expect(total)
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(begin)
            file.seek(begin)
            done = begin
            while chunk := reply.read1(CHUNK):
                done += len(chunk)
                meter.at(done, total)
                file.write(chunk)
        if total is not None and done != total:
            raise TransientError(f"{self.address} broke off after {done} of {total} bytes")

    def _begin(self, reply: http.client.HTTPResponse, have: int) -> tuple[int | None, int | None]:
        """Return where the body begins, None when there is nothing left to fetch; and how long the whole is."""
        if reply.getheader("Content-Encoding", "identity") != "identity":
            raise InvalidError(f"{self.address} is sent in a form that was not asked for")
        if reply.status == OK:
            return 0, reply.length
        found = RANGE.match(reply.getheader("Content-Range") or "")
        if reply.status == PARTIAL and found and int(found[1]) == have:
            return have, None if found[2] == "*" else int(found[2])
        if reply.status == PAST and have:
            return None, None  # whether it is all of it, its checksum tells
        if reply.status == PARTIAL:
            raise InvalidError(f"{self.address}: the server sends another part than was asked for")
        raise self._refusal(reply.status)

    def _refusal(self, status: int) -> FlyingLowError:
        import http.client  # noqa: PLC0415 - an agent's start does not wait for it

        words = f"{self.address}: the server answers {status} {http.client.responses.get(status, '')}".rstrip()
        if status in BUSY:
            return TransientError(words)
        if status in FORBIDDEN:
            return DeniedError(words)
        return InvalidError(words) if status in ABSENT else BrokenError(words)

    @contextlib.contextmanager
    def _connection(self, meter: Meter | None = None) -> Iterator[http.client.HTTPConnection]:
        """Connect; what nobody wants any more is cut off, however long the server says nothing."""
        with contextlib.closing(self._unconnected()) as connection:
            if self.public:
                connection._create_connection = publicly.connect  # type: ignore[attr-defined] # noqa: SLF001
            connection.connect()
            connection.sock.settimeout(self.timeout)
            with _watched(connection.sock, meter) if meter else contextlib.nullcontext():
                yield connection

    def _unconnected(self) -> http.client.HTTPConnection:
        import http.client  # noqa: PLC0415 - an agent's start does not wait for it

        host, port, patience = self.address.host, self.address.port, min(CONNECTING, self.timeout)
        if self.address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=patience)
        import ssl  # noqa: PLC0415 - half of what the first transfer would wait for

        context = ssl.create_default_context(cafile=self.authorities)
        return http.client.HTTPSConnection(host, port, timeout=patience, context=context)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "flyinglow-nodectl", "Connection": "close"}
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        elif self.address.user is not None:
            secret = f"{self.address.user}:{self.address.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(secret).decode('ascii')}"
        return headers

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell what a connection failed of; an error of a file of this node is left as it is."""
        import http.client  # noqa: PLC0415 - an agent's start does not wait for it

        try:
            yield
        except http.client.HTTPException as error:
            raise TransientError(f"{self.address}: the server broke off ({type(error).__name__})") from error
        except OSError as error:
            if error.filename is not None or error.errno in _OURS:
                raise
            if hasattr(error, "verify_message"):  # ssl.SSLCertVerificationError
                raise DeniedError(f"{self.address}: the server is not who it says: {error.verify_message}") from error
            raise TransientError(f"{self.address} is not to be reached: {error.strerror or error}") from error


@contextlib.contextmanager
def _watched(sock: socket.socket, meter: Meter) -> Iterator[None]:
    """Shut a connection down when what it is for is not wanted any more: a read of it ends at once."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(TURN):
            if meter.cancelled():
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not TLS's own, which would wait for the reader
                return

    thread = threading.Thread(target=watch, name="watch-transfer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


_OURS = (28, 122, 5)  # ENOSPC, EDQUOT, EIO: of the disk, not of a connection


def _netloc(here: Address) -> str:
    host = f"[{here.host}]" if ":" in here.host else here.host
    return f"{host}:{here.port}"

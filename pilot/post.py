"""One connection to the service's node listener, kept open: bytes there, bytes back, within a time that is kept.

Written on sockets, because loading the standard HTTP client costs a starting pilot more than all else it does, and
because its time-outs bound single reads, not the whole: a service that trickles could eat the grace.
"""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

from flyinglow.nodectl.errors import InvalidError, TransientError
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.messages import MAX_BYTES, PATH

_HEAD = 1 << 16  # bytes of an answer's head
_CHUNK = 1 << 16


class Address:
    """Where messages are posted: taken from a URL of http or https. Raises InvalidError for another."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidError(f"the service's address {url!r} cannot be read: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError(f"the service's address {url!r} is no http or https URL with a host")
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = port or (443 if self.tls else 80)
        path = parts.path.rstrip("/")
        self.path = path if path.endswith(PATH) else path + PATH
        self.name = parts.netloc.rpartition("@")[2]


class Post:
    """Used by one thread at a time; ``abandon`` by any."""

    def __init__(self, address: Address, certificate: str, clock: Clock) -> None:
        self._address = address
        self._certificate = certificate
        self._clock = clock
        self._socket: socket.socket | None = None
        self._rest = b""

    def post(self, data: bytes, seconds: float) -> tuple[int, bytes]:
        """Return the answer's status and body. Raises TransientError when there is none within that time."""
        until = self._clock.monotonic() + seconds
        kept = self._socket is not None
        try:
            return self._once(data, until)
        except (OSError, ValueError) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError) or self._clock.monotonic() >= until:
                raise TransientError(f"the service at {self._address.name} does not answer: {error}") from error
        try:  # the kept connection had been closed by the other side; to say it twice does no harm
            return self._once(data, until)
        except (OSError, ValueError) as error:
            self.close()
            raise TransientError(f"the service at {self._address.name} does not answer: {error}") from error

    def abandon(self) -> None:
        """Break off what another thread waits for."""
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        connection, self._socket, self._rest = self._socket, None, b""
        if connection is not None:
            connection.close()

    def _once(self, data: bytes, until: float) -> tuple[int, bytes]:
        connection = self._socket or self._open(until)
        head = (
            f"POST {self._address.path} HTTP/1.1\r\nHost: {self._address.name}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        connection.settimeout(self._left(until))
        connection.sendall(head.encode("ascii") + data)
        return self._answer(until)

    def _open(self, until: float) -> socket.socket:
        address = self._address
        connection = socket.create_connection((address.host, address.port), self._left(until))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls:
                import ssl  # noqa: PLC0415 - a site without TLS need not wait for it

                context = ssl.create_default_context(cadata=self._certificate or None)
                connection = context.wrap_socket(connection, server_hostname=address.host)
        except BaseException:
            connection.close()
            raise
        self._socket = connection
        return connection

    def _answer(self, until: float) -> tuple[int, bytes]:
        head = self._until(b"\r\n\r\n", until)
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "chunked" in fields.get("transfer-encoding", "").lower():
            body = self._chunks(until)
        else:
            body = self._exactly(int(fields["content-length"]) if "content-length" in fields else 0, until)
        if fields.get("connection", "").lower() == "close" or version != "HTTP/1.1":
            self.close()
        return int(status), body

    def _chunks(self, until: float) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n", until).split(b";")[0], 16):
            body += self._exactly(size + 2, until)[:-2]
            if len(body) > MAX_BYTES:
                raise ValueError("its answer is too long")
        while self._until(b"\r\n", until):
            continue  # trailers say nothing
        return body

    def _until(self, mark: bytes, until: float) -> bytes:
        while mark not in self._rest:
            if len(self._rest) > _HEAD:
                raise ValueError("the head of its answer is too long")
            self._rest += self._more(until)
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, size: int, until: float) -> bytes:
        if not 0 <= size <= MAX_BYTES:
            raise ValueError("its answer is too long")
        while len(self._rest) < size:
            self._rest += self._more(until)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _more(self, until: float) -> bytes:
        if self._socket is None:
            raise ConnectionError("the connection was closed")
        self._socket.settimeout(self._left(until))
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("it closed the connection")
        return data

    def _left(self, until: float) -> float:
        left = until - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

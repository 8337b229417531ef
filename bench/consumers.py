"""Consumers of notifications, in a process of their own: real HTTP/1.1 servers, each with a port of its own.

    consumers.py COUNT SLOW [CERTIFICATE KEY]

of which the last SLOW answer after five seconds only; with a certificate all of them speak TLS. It prints the ports as
JSON. Each line on its standard input is a JSON command, answered by a line:
``["clear"]``, ``["wait", messages, seconds]`` and ``["running", workspaces, seconds, subscriptions]`` (answered by how
many there were in time) and ``["report"]``: [consumer, subscription, sequence, state, monotonic seconds] of every
message. ``["down", consumer]`` and ``["up", consumer]`` close a consumer's port and open it again.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MESSAGE = re.compile(
    rb"/subscription/(\w+)</wsa:Address>.*?<fl:(?:StateChange|ScheduleChange)[^>]* sequence=\"(\d+)\"[^>]*>"
    rb"(.*?)</wsnt:NotificationMessage>",
    re.DOTALL,
)
_STATE = re.compile(rb"<fl:State>(\w+)</fl:State>")
_KIND = re.compile(rb"<fl:Kind>(\w+)</fl:Kind>")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RUNNING = "workspace Running"
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

SLOW = 5.0
"""Seconds until a slow consumer answers."""

Seen = tuple[int, str, int, str, float]


def read(body: bytes) -> list[tuple[str, int, str]]:
    """Return (subscription, sequence, "kind state") of every message of a Notify, in its order."""
    found = []
    for subscription, sequence, rest in _MESSAGE.findall(body):
        kind, state = _KIND.search(rest), _STATE.search(rest)
        words = [match[1].decode() for match in (kind, state) if match]
        found.append((subscription.decode(), int(sequence), " ".join(words)))
    return found


class Book:
    """What came, in the order in which it came."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.open: dict[int, set[Any]] = {}
        self.clear()

    def clear(self) -> bool:
        """Forget what came."""
        self.seen: list[Seen] = []
        self.requests = 0
        self.running: set[str] = set()
        return True

    def note(self, consumer: int, body: bytes) -> None:
        """Write down the messages of one request."""
        at = time.monotonic()
        self.requests += 1
        for subscription, sequence, state in read(body):
            self.seen.append((consumer, subscription, sequence, state, at))
            if state == RUNNING:
                self.running.add(subscription)
        self.news.set()

    async def until(self, count: str, wanted: int, seconds: float, of: Sequence[str] = ()) -> int:
        """Wait until there are as many as wanted, or the time is over; return how many there are."""
        known = set(of)
        have = {"wait": lambda: len(self.seen), "running": lambda: len(self.running & known)}[count]
        deadline = time.monotonic() + seconds
        while have() < wanted and (left := deadline - time.monotonic()) > 0:
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), left)
            except TimeoutError:
                break
        return have()


class Consumer(asyncio.Protocol):
    """One connection to one consumer."""

    def __init__(self, number: int, book: Book, *, slow: bool = False) -> None:
        self._number, self._book, self._buffer, self._slow = number, book, b"", slow
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Keep the way back."""
        self._transport = transport
        self._book.open.setdefault(self._number, set()).add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the way back."""
        self._book.open[self._number].discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Note and answer every request that is whole."""
        self._buffer += data
        while (cut := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, cut)
            end = cut + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            body, self._buffer = self._buffer[cut + 4 : end], self._buffer[end:]
            self._book.note(self._number, body)
            if self._slow:
                asyncio.get_running_loop().call_later(SLOW, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)


class Servers:
    """The consumers' ports, which can be closed and opened again."""

    def __init__(self, count: int, slow: int, tls: ssl.SSLContext | None) -> None:
        self.book = Book()
        self._tls = tls
        self._first_slow = count - slow
        self.ports = [0] * count
        self._servers: dict[int, asyncio.Server] = {}

    async def up(self, at: int) -> bool:
        """Listen, on the port that it had."""
        slow = at >= self._first_slow
        loop = asyncio.get_running_loop()
        self._servers[at] = await loop.create_server(
            lambda: Consumer(at, self.book, slow=slow), "127.0.0.1", self.ports[at], backlog=8, ssl=self._tls
        )
        self.ports[at] = self._servers[at].sockets[0].getsockname()[1]
        return True

    def down(self, at: int) -> bool:
        """Close the port, and the connections there are."""
        self._servers.pop(at).close()
        for transport in tuple(self.book.open.get(at, ())):
            transport.abort()
        return True


async def serve(count: int, slow: int, *keys: str) -> None:
    """Listen, and obey until standard input ends."""
    loop, servers = asyncio.get_running_loop(), Servers(count, slow, _context(*keys) if keys else None)
    for at in range(count):
        await servers.up(at)
    print(json.dumps(servers.ports), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _obey(servers, *json.loads(line))), flush=True)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


async def _obey(servers: Servers, verb: str, *arguments: Any) -> Any:
    book = servers.book
    if verb == "clear":
        return book.clear()
    if verb == "report":
        return {"requests": book.requests, "seen": book.seen}
    if verb == "down":
        return servers.down(*arguments)
    if verb == "up":
        return await servers.up(*arguments)
    return await book.until(verb, *arguments)


class Consumers:
    """The process, seen from outside. ``keys``: a certificate and its key, by which they speak TLS."""

    def __init__(self, count: int, slow: int = 0, keys: Sequence[Path] = ()) -> None:
        words = [sys.executable, __file__, *map(str, (count, slow, *keys))]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        scheme = "https" if keys else "http"
        self.urls = [f"{scheme}://127.0.0.1:{port}/{at}" for at, port in enumerate(self._answer())]

    def _answer(self) -> Any:
        if self._process.stdout is None:
            raise RuntimeError("the consumers' answers cannot be read")
        return json.loads(self._process.stdout.readline())

    def ask(self, verb: str, *arguments: object) -> Any:
        """Send one command and return its answer."""
        if self._process.stdin is None:
            raise RuntimeError("the consumers cannot be asked")
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))

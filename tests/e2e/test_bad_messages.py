"""Messages that no honest client sends, against the running service: answered, logged, and nobody disturbed."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from flyinglow.client import Disk, Part, Site
from rigs.daemon import Daemon

pytestmark = pytest.mark.xdist_group("bad-messages")

NAMES = (
    'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2" '
    'xmlns:fl="urn:flyinglow:types:1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
S11 = "http://schemas.xmlsoap.org/soap/envelope/"
S12 = "http://www.w3.org/2003/05/soap-envelope"
STATE = "<rp:GetResourceProperty>fl:State</rp:GetResourceProperty>"
RESOURCE = "<fl:ResourceID>0123456789abcdef0123456789abcdef</fl:ResourceID>"
MARK = "Q"  # what the sender fills messages with; no word of ours has it
LIMIT = 1 << 20
XML = {"Content-Type": "text/xml; charset=utf-8"}


def envelope(body: str = STATE, header: str = RESOURCE, soap: str = S11, before: str = "") -> bytes:
    text = f'<s:Envelope xmlns:s="{soap}" {NAMES}><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    return (before + text).encode()


class Trap:
    """Listens where hostile messages point to; nobody may come."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}/{MARK}"

    def is_empty(self) -> bool:
        """Say whether nobody has knocked (a connection is accepted by the system before the program looks)."""
        self._server.setblocking(False)
        with suppress(BlockingIOError):
            self._server.accept()[0].close()
            return False
        return True


@pytest.fixture
def trap() -> Iterator[Trap]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Trap(server)


def post(daemon: Daemon, body: bytes, headers: dict[str, str] = XML, path: str = "/workspace") -> tuple[int, bytes]:
    """Send a message and return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=180)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


ATTRIBUTES = " ".join(f"a{n}='1'" for n in range(60_000))
LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))

SOAP_FAULTS: dict[str, Callable[[str], bytes]] = {
    "a document type": lambda url: envelope(before=f'<!DOCTYPE x SYSTEM "{url}">'),
    "an external entity": lambda url: envelope(
        "<rp:GetResourceProperty>&e;</rp:GetResourceProperty>", before=f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]>'
    ),
    "a local file": lambda url: envelope(
        "<rp:GetResourceProperty>&e;</rp:GetResourceProperty>",
        before='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    ),
    "a parameter entity": lambda url: envelope(before=f'<!DOCTYPE x [<!ENTITY % e SYSTEM "{url}"> %e;]>'),
    "a billion laughs": lambda url: envelope(
        "<rp:GetResourceProperty>&a9;</rp:GetResourceProperty>", before=f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'
    ),
    "a schema location": lambda url: envelope(
        f'<rp:GetResourceProperty xsi:schemaLocation="urn:evil {url}" xmlns:q="urn:evil" xsi:type="q:E"/>'
    ),
    "an inclusion": lambda url: envelope(f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{url}"/>'),
    "an answer to be sent elsewhere": lambda url: envelope(
        header=f"{RESOURCE}<wsa:ReplyTo><wsa:Address>{url}</wsa:Address></wsa:ReplyTo>"
    ),
    "a style sheet": lambda url: envelope("<rp:Nothing/>", before=f'<?xml-stylesheet href="{url}"?>'),
    "great depth": lambda url: envelope("<x>" * 100_000 + "</x>" * 100_000),
    "100,000 headers": lambda url: envelope(header="<h/>" * 100_000),
    "60,000 attributes": lambda url: envelope(f"<x {ATTRIBUTES}/>"),
    "nothing at all": lambda url: b"",
    "an empty body": lambda url: envelope(""),
    "two body children": lambda url: envelope(STATE * 2),
    "no body": lambda url: f'<s:Envelope xmlns:s="{S11}"/>'.encode(),
    "another version's envelope": lambda url: envelope(soap="http://www.w3.org/2099/envelope"),
    "a header that must be understood": lambda url: envelope(
        header=f'{RESOURCE}<q:Key xmlns:q="urn:{MARK * 500}" s:mustUnderstand="1"/>'
    ),
    "cut off in the middle": lambda url: envelope()[:-30],
    "not XML": lambda url: MARK.encode() * 10_000,
    "bytes that are no UTF-8": lambda url: envelope(f"<x>{MARK}\0</x>").replace(b"\0", b"\xff\xfe"),
    "a NUL": lambda url: envelope("<x>\0</x>"),
    "an unknown operation": lambda url: envelope(f"<q:{MARK * 5000} xmlns:q='urn:x'/>"),
    "an operation of another service": lambda url: envelope('<f:List xmlns:f="urn:flyinglow:factory:1"/>'),
    "a name without a name space": lambda url: envelope(
        f"<rp:GetResourceProperty>fl:{MARK * 3000}</rp:GetResourceProperty>"
    ),
    "a resource id of no resource": lambda url: envelope(header=f"<fl:ResourceID>{MARK * 5000}</fl:ResourceID>"),
    "two resource ids": lambda url: envelope(header=RESOURCE * 2),
    "an action that contradicts": lambda url: envelope(header=f"{RESOURCE}<wsa:Action>urn:{MARK * 4000}</wsa:Action>"),
}


def fault_lines(daemon: Daemon, start: int) -> list[bytes]:
    """Return the log's lines about faults from an offset on."""
    return [line for line in daemon.log.read_bytes()[start:].splitlines() if b"soap fault" in line]


@pytest.mark.parametrize("what", SOAP_FAULTS)
def test_a_hostile_message_gets_a_fault_that_tells_nothing(shared: Daemon, trap: Trap, what: str) -> None:
    start = shared.log.stat().st_size
    status, answer = post(shared, SOAP_FAULTS[what](trap.url))
    assert status == 500, answer
    tree = etree.fromstring(answer)
    assert tree.find(f"{{{S11}}}Body/{{{S11}}}Fault") is not None
    assert len(answer) < 20_000
    said = answer.decode()
    for secret in ("Traceback", ".py", "lxml", "spyne", "Error:", "root:", "/etc/"):
        assert secret not in said
    lines = fault_lines(shared, start)
    assert len(lines) == 1
    assert lines[0].count(MARK.encode()) <= 300
    assert re.fullmatch(rb"[ -~]*", lines[0])
    assert b"Traceback" not in shared.log.read_bytes()[start:]
    assert trap.is_empty()


REFUSED: dict[str, tuple[bytes, dict[str, str], str, set[int]]] = {
    "JSON": (b"{}", {"Content-Type": "application/json"}, "/workspace", {415}),
    "no content type": (envelope(), {}, "/workspace", {415}),
    "a form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, "/workspace", {415}),
    "an unknown charset": (envelope(), {"Content-Type": "text/xml; charset=utf-7"}, "/workspace", {400, 415, 500}),
    "a compressed body": (envelope(), {**XML, "Content-Encoding": "gzip"}, "/workspace", {400, 415}),
    "no service": (envelope(), XML, "/nowhere", {404}),
    "a path that climbs": (envelope(), XML, "/schemas/../../../etc/passwd", {404, 405}),
    "SOAP 1.2 as 1.1": (envelope(soap=S12), XML, "/workspace", {500}),
    "SOAP 1.1 as 1.2": (envelope(), {"Content-Type": "application/soap+xml"}, "/workspace", {400, 500}),
    "an oversize body": (b" " * (LIMIT + 1), XML, "/workspace", {413}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_is_no_message_is_refused(shared: Daemon, what: str) -> None:
    body, headers, path, expected = REFUSED[what]
    status, answer = post(shared, body, headers, path)
    assert status in expected
    assert b"Traceback" not in answer
    assert len(answer) < 4000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_refused(shared: Daemon, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=120)
    connection.request(method, "/workspace", envelope(), XML)
    assert connection.getresponse().status in {405, 501}
    connection.close()


def pour(daemon: Daemon) -> None:
    """Send a body without an end until the service hangs up; it throws away what it reads, for a short while."""
    chunk = b"10000\r\n" + MARK.encode() * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=180) as peer, suppress(OSError):
        peer.sendall(b"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n")
        peer.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.sendall(chunk)


def resident_mb(daemon: Daemon) -> int:
    """Return how much memory the service holds."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) // 1024


def test_a_body_without_an_end_is_thrown_away_and_cut_off(shared: Daemon) -> None:
    before, began = resident_mb(shared), time.monotonic()
    pour(shared)
    assert time.monotonic() - began < 120
    assert resident_mb(shared) < before + 30


def repeat(deed: Callable[[], Any], done: threading.Event) -> Callable[[], None]:
    """Return what does ``deed`` over and over until ``done``."""

    def again() -> None:
        while not done.is_set():
            with suppress(OSError, http.client.HTTPException):
                deed()

    return again


def hold(daemon: Daemon, done: threading.Event) -> None:
    """Keep connections that never say what they want."""
    peers = []
    while not done.wait(0.05):
        with suppress(OSError):
            peers.append(socket.create_connection(("127.0.0.1", daemon.port), timeout=30))
            peers[-1].sendall(b"POST /workspace HTTP/1.1\r\nX-")
        if len(peers) > 40:
            peers.pop(0).close()
    for peer in peers:
        peer.close()


def test_other_clients_work_on_meanwhile(shared: Daemon, site: Site, trap: Trap) -> None:
    done = threading.Event()
    bombs = [make(trap.url) for make in SOAP_FAULTS.values()]
    deeds: list[Callable[[], Any]] = [lambda: [post(shared, bomb) for bomb in bombs], lambda: pour(shared)]
    threads = [threading.Thread(target=repeat(deed, done)) for deed in deeds]
    threads.append(threading.Thread(target=hold, args=(shared, done)))
    for thread in threads:
        thread.start()
    waits: list[float] = []
    try:
        for number in range(8):
            began = time.monotonic()
            lease = site.create(
                [Part(name=f"w{number}", memory_mb=64, disks=(Disk(image="guest"),))], name=f"w{number}"
            )
            waits.append(time.monotonic() - began)
            lease.whole.wait("Running", timeout=120)
            began = time.monotonic()
            lease.whole.destroy()
            waits.append(time.monotonic() - began)
    finally:
        done.set()
        for thread in threads:
            thread.join(120)
    assert max(waits) < 60, waits
    assert trap.is_empty()
    shared.admin("status")

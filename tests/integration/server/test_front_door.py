"""The attacks on the client listener, by their numbers, against one real daemon; each has more cases elsewhere."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from flyinglow.client import Consumer, Disk, Part, connect
from flyinglow.client.resource import Resource
from rigs.daemon import Daemon
from rigs.raw_soap import S11, S12, ask, send
from rigs.waiting import eventually

pytestmark = pytest.mark.xdist_group("front-door")

TOML = """
[notification]
allow_loopback = true
per_owner = 12
per_host = 8
[audit]
sync = "always"
"""
NAMES = 'xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2" xmlns:fl="urn:flyinglow:types:1"'
STATE = f"<rp:GetResourceProperty {NAMES}>fl:State</rp:GetResourceProperty>"
FACTORY = f"<rp:GetResourceProperty {NAMES}>fl:FreeNow</rp:GetResourceProperty>"

XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
FULL = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Full"
DEAR = "count(//*[count(//*[count(//*[count(//*[count(//*) &gt; 0]) &gt; 0]) &gt; 0]) &gt; 0])"
DEARER = "count(//*[" * 20 + "1" + "])" * 20
HEADER = b'<s:Header><q:k xmlns:q="urn:q" s:mustUnderstand="1"/></s:Header>'


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("fl"), options={"toml": TOML})
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.clean_up()


@pytest.fixture(scope="module")
def leased(door: Daemon) -> Resource:
    part = Part(name="vm", memory_mb=32, disks=(Disk(image="guest"),))
    return connect(door.url).create([part], name="vm").whole


def audit(daemon: Daemon) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (daemon.state / "audit.log").read_text().splitlines()]


def post(daemon: Daemon, data: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=180)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", "/factory", data, {"Content-Type": "text/xml", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_well(daemon: Daemon) -> bool:
    return ask(daemon, "/factory", FACTORY) == "GetResourcePropertyResponse"


def envelope(body: str, before: str = "") -> bytes:
    return f'{before}<s:Envelope xmlns:s="{S11[1:-1]}"><s:Body>{body}</s:Body></s:Envelope>'.encode()


def test_a01_a_document_type_is_refused_and_nothing_is_fetched(door: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/"
        start = door.log.stat().st_size
        for kind in (f'SYSTEM "{url}"', f'x [<!ENTITY % e SYSTEM "{url}"> %e;]', 'x [<!ENTITY e "ha">]'):
            status, answer = post(door, envelope(FACTORY, f"<!DOCTYPE {kind}>"))
            assert status == 500
            assert b"faultcode>s:Client<" in answer
        with pytest.raises(BlockingIOError):
            trap.accept()
    lines = [line for line in door.log.read_bytes()[start:].splitlines() if b"soap fault" in line]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 300


def test_a02_bombs_and_bodies_without_end_cost_nobody_else_anything(door: Daemon) -> None:
    packed = gzip.compress(b"\0" * (10 << 20))
    assert post(door, packed, **{"Content-Encoding": "gzip"})[0] == 415
    assert post(door, b"x" * ((1 << 20) + 1))[0] == 413
    attributes = " ".join(f"a{n}=''" for n in range(60_000))
    for bomb in ("<x>" * 100_000 + "</x>" * 100_000, f"<x {attributes}/>"):
        assert post(door, envelope(bomb))[0] in {413, 500}
    peers = [socket.create_connection(("127.0.0.1", door.port), timeout=180) for _ in range(40)]
    try:
        for at, peer in enumerate(peers):
            ends = b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" if at % 2 else b"Content-Length: 1000\r\n\r\nx"
            peer.sendall(b"POST /factory HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n" + ends)
        assert all(is_well(door) for _ in range(10))
    finally:
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (envelope("<x>\0</x>"), b"s:Client"),
        (envelope("<x>\xff</x>").replace("\xff".encode(), b"\xff"), b"s:Client"),
        (envelope(FACTORY + FACTORY), b"s:Client"),
        (envelope(FACTORY).replace(b"schemas.xmlsoap.org/soap/envelope", b"example.org/envelope"), b"VersionMismatch"),
        (
            envelope(FACTORY).replace(b"<s:Body>", HEADER + b"<s:Body>"),
            b"MustUnderstand",
        ),
        (envelope(FACTORY.replace("rp-2", "rp-1")), b"s:Client"),
        (envelope(FACTORY.replace("fl:FreeNow", "<![CDATA[fl:FreeNow</x>]]>")), b"s:Client"),
    ],
    ids=["NUL", "no UTF-8", "two bodies", "version", "mustUnderstand", "name space", "CDATA"],
)  # fmt: skip
def test_a03_a_message_that_is_not_soap_gets_the_fault_that_says_so(door: Daemon, text: bytes, said: bytes) -> None:
    status, answer = post(door, text)
    assert status == 500
    assert said in answer
    assert b"FreeNowResponse" not in answer


def test_a08_a_guess_is_answered_as_nothing_and_is_audited(door: Daemon, leased: Resource) -> None:
    guess = "0123456789abcdef" * 2
    assert leased.id != guess
    assert ask(door, f"/workspace/{guess}", STATE) == "ResourceUnknownFault"
    header = f"<fl:ResourceID {NAMES}>{guess}</fl:ResourceID>"
    assert ask(door, f"/workspace/{leased.id}", STATE, header) == "InvalidFault"
    told = [line["outcome"] for line in audit(door) if line["resource"] == guess]
    assert told == ["ResourceUnknownFault"]


def _subscribe(door: Daemon, leased: Resource, address: str) -> str:
    body = (
        '<Subscribe xmlns="http://docs.oasis-open.org/wsn/b-2"><ConsumerReference>'
        f'<Address xmlns="http://www.w3.org/2005/08/addressing">{address}</Address></ConsumerReference></Subscribe>'
    )
    return ask(door, f"/workspace/{leased.id}", body)


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]:9/", "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://0.0.0.0/", "http://10.0.0.1/",
        "http://[fd00:ec2::254]/", "http://127.0.0.1:25/", "http://127.0.0.1:6379/", "file:///etc/passwd",
        "gopher://127.0.0.1:70/", "http://u:p@127.0.0.1:9000/",
    ],
)  # fmt: skip
def test_a09_a_consumer_is_nowhere_that_it_must_not_be(door: Daemon, leased: Resource, address: str) -> None:
    assert _subscribe(door, leased, address) == "SubscribeCreationFailedFault"


def test_a09_answers_go_nowhere_but_back(door: Daemon) -> None:
    wsa = "http://www.w3.org/2005/08/addressing"
    for name in ("ReplyTo", "FaultTo"):
        header = f'<w:{name} xmlns:w="{wsa}"><w:Address>http://127.0.0.1:9/</w:Address></w:{name}>'
        header += f'<w:Action xmlns:w="{wsa}">http://docs.oasis-open.org/wsrf/rpw-2/GetResourceProperty/GetResourcePropertyRequest</w:Action>'
        header += f'<w:MessageID xmlns:w="{wsa}">urn:x:1</w:MessageID>'
        status, answer = send(door, "/factory", FACTORY, header)
        assert status == 500
        assert "OnlyAnonymousAddressSupported" in etree.tostring(answer, encoding="unicode")


@pytest.mark.parametrize(
    ("kind", "dialect", "bomb", "fault"),
    [
        ("MessageContent", XPATH, DEARER, "InvalidMessageContentExpressionFault"),
        ("ProducerProperties", XPATH, DEARER, "InvalidProducerPropertiesExpressionFault"),
        ("TopicExpression", FULL, "//*" * 300, "TopicNotSupportedFault"),
        ("TopicExpression", FULL, "|".join(["fl:nothing//."] * 60), "TopicNotSupportedFault"),
    ],
)
def test_a12_a_filter_bomb_is_no_subscription(
    door: Daemon, leased: Resource, kind: str, dialect: str, bomb: str, fault: str
) -> None:
    body = (
        '<Subscribe xmlns="http://docs.oasis-open.org/wsn/b-2" xmlns:fl="urn:flyinglow:types:1"><ConsumerReference>'
        '<Address xmlns="http://www.w3.org/2005/08/addressing">http://127.0.0.1:9000/</Address></ConsumerReference>'
        f'<Filter><{kind} Dialect="{dialect}">{bomb}</{kind}></Filter></Subscribe>'
    )
    assert ask(door, f"/workspace/{leased.id}", body) == fault
    assert is_well(door)


@pytest.fixture
def flood() -> Iterator[str]:
    """Give the address of a consumer that answers without an end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_flood, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def _flood(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            peer = server.accept()[0]
            with peer, suppress(OSError):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
                while True:
                    peer.sendall(b"x" * 65536)


def test_a11_a_bad_consumer_keeps_nobody_else_waiting(door: Daemon, flood: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, Consumer() as healthy:
        part = Part(name="told", memory_mb=32, disks=(Disk(image="guest"),))
        whole = connect(door.url).create([part], name="told").whole
        for address in (flood, f"http://127.0.0.1:{mute.getsockname()[1]}/"):
            assert _subscribe(door, whole, address) == "SubscribeResponse"
        news = healthy.watch(whole)
        whole.destroy()
        assert "termination" in (each.topic for each in news)


def test_a10_nobody_makes_the_service_an_amplifier(door: Daemon, leased: Resource) -> None:
    answers = [_subscribe(door, leased, f"http://127.0.0.1:9000/{at}") for at in range(12)]
    assert 0 < answers.count("SubscribeResponse") <= 8  # per_host, with those of other tests
    assert set(answers[8:]) == {"SubscribeCreationFailedFault"}
    others = [_subscribe(door, leased, f"http://127.0.0.{at}:9000/") for at in range(2, 16)]
    assert 0 < others.count("SubscribeResponse") <= 12  # per_owner
    assert others[-1] == "SubscribeCreationFailedFault"


def test_a12_a_query_bomb_is_stopped_and_others_go_on(door: Daemon) -> None:
    query = (
        '<rp:QueryResourceProperties xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2"><rp:QueryExpression '
        f'Dialect="{XPATH}">{DEAR}</rp:QueryExpression></rp:QueryResourceProperties>'
    )
    threads = [threading.Thread(target=ask, args=(door, "/factory", query)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert is_well(door)
    for thread in threads:
        thread.join(180)
    assert ask(door, "/factory", query) == "QueryEvaluationErrorFault"


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"])
def test_a13_addresses_are_the_configured_ones_whatever_a_request_says(door: Daemon, header: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=180)
    try:
        connection.putrequest("GET", "/factory?wsdl", skip_host=header == "Host")
        connection.putheader(header, "host=evil.example" if header == "Forwarded" else "evil.example")
        connection.endheaders()
        text = connection.getresponse().read()
    finally:
        connection.close()
    assert b"evil.example" not in text
    assert f'location="{door.url}/factory"'.encode() in text


@pytest.mark.parametrize(
    "image", ["../../etc/passwd", "/etc/passwd", "file:///dev/zero", "file:///etc/../dev/sda", "store:../x"]
)
def test_a14_an_image_is_a_name_of_the_catalogue(door: Daemon, image: str) -> None:
    assert _create(door, image=image) in {"InvalidFault", "DeniedFault"}


def _create(door: Daemon, *, name: str = "vm", image: str = "guest", key: str = "", duration: str = "PT1M") -> str:
    context = f"<Context><Key>{key}</Key></Context>" if key else ""
    return ask(
        door,
        "/factory",
        f'<Create xmlns="urn:flyinglow:factory:1"><Name>{name}</Name><Part><Name>{name}</Name><MemoryMB>16</MemoryMB>'
        f"<CPUs>1</CPUs><Disk><Image>{image}</Image></Disk>{context}</Part><Lease><Duration>{duration}</Duration>"
        "</Lease></Create>",
    )


@pytest.mark.parametrize("name", ["; reboot", "$(reboot)", "-rf", "a=b", "a b", "a&#10;b", "`id`", "../x"])
def test_a17_names_are_letters_digits_and_hyphens(door: Daemon, name: str) -> None:
    assert _create(door, name=name) in {"InvalidFault", ""}


@pytest.mark.parametrize(
    "key",
    ["ssh-ed25519 AAAA&#10;ssh-rsa BBBB", "-oProxyCommand=reboot", "$(reboot)", "command=&quot;reboot&quot;", "; x"],
)
def test_a17_a_key_is_one_key(door: Daemon, key: str) -> None:
    assert _create(door, key=key) in {"InvalidFault", ""}


def test_a_key_is_taken(door: Daemon) -> None:
    """Which the test above would not show, if no key at all were."""
    assert _create(door, key=f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{'A' * 48} me@here") == "CreateResponse"


@pytest.mark.parametrize("duration", ["P100000000Y", "P9999D", "PT99999999999999S", "-PT1H", "PT0S"])
def test_a26_no_duration_is_beyond_what_can_be(door: Daemon, duration: str) -> None:
    assert _create(door, duration=duration) in {"InvalidFault", "DeniedFault", ""}
    assert is_well(door)


def test_a27_what_callers_write_reaches_no_terminal(door: Daemon) -> None:
    start = door.log.stat().st_size
    wsa = "http://www.w3.org/2005/08/addressing"
    header = (
        f'<w:MessageID xmlns:w="{wsa}">urn:x:\u202e\u009b31m&#13;&#10;forged</w:MessageID>'
        f'<w:Action xmlns:w="{wsa}">urn:flyinglow:factory:1/Factory/CreateRequest</w:Action>'
    )
    body = (
        '<Create xmlns="urn:flyinglow:factory:1"><Name>\u202e\u009bx</Name><Part><Name>\u009b31m</Name>'
        "<MemoryMB>1</MemoryMB><CPUs>1</CPUs><Disk><Image>guest</Image></Disk></Part></Create>"
    )
    assert send(door, "/factory", body, header)[0] == 500
    told = eventually(lambda: door.log.read_bytes()[start:])
    assert not any(byte < 32 and byte not in b"\n\t" for byte in told)
    assert all(line.isascii() for line in told.splitlines())
    raw = (door.state / "audit.log").read_bytes()
    assert raw.isascii()
    assert not any(byte < 32 and byte != 10 for byte in raw)
    (stored,) = [line for line in audit(door) if "forged" in line["message_id"]]
    assert "\u202e\u009b31m" in stored["message_id"]


def test_the_audit_log_is_its_owners_and_admins_are_in_it(door: Daemon) -> None:
    door.admin("node.drain", name="n2")
    door.admin("node.activate", name="n2")
    door.admin("node.list")
    verbs = [line for line in audit(door) if line["endpoint"] == "admin"]
    assert [(line["operation"], line["resource"], line["outcome"]) for line in verbs] == [
        ("node.drain", "n2", "done"),
        ("node.activate", "n2", "done"),
    ]
    assert verbs[0]["from"] == f"uid {os.geteuid()} pid {os.getpid()}"
    assert Path(door.state / "audit.log").stat().st_mode & 0o137 == 0


def test_who_leaves_before_the_answer_is_in_the_audit_log_once_as_are_calls_after_a_rotation(door: Daemon) -> None:
    said = "urn:uuid:6f0c2a4e-9a58-4a0b-8d0e-3f1f5a7b9c2d"
    header = (
        f'<w:MessageID xmlns:w="http://www.w3.org/2005/08/addressing">{said}</w:MessageID>'
        '<w:Action xmlns:w="http://www.w3.org/2005/08/addressing">urn:flyinglow:factory:1/Factory/CreateRequest</w:Action>'
    )
    create = '<Create xmlns="urn:flyinglow:factory:1"><Name>gone</Name></Create>'
    data = envelope(create).replace(b"<s:Body>", f"<s:Header>{header}</s:Header><s:Body>".encode())
    head = f"POST /factory HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", door.port), timeout=180) as peer:
        peer.sendall(head.encode() + data)
    eventually(lambda: [line for line in audit(door) if line["message_id"] == said], 120)
    old, rotated = door.state / "audit.log", door.state / "audit.log.1"
    old.rename(rotated)
    os.kill(door.pid, signal.SIGHUP)
    eventually(old.exists, 120)
    assert send(door, "/factory", create, header.replace("6f0c", "7f0c"))[0] == 500
    assert [line["message_id"] for line in audit(door)] == [said.replace("6f0c", "7f0c")]
    assert rotated.read_text().count(said) == 1
    assert rotated.read_text().endswith("}\n")


def test_soap_1_2_is_refused_alike(door: Daemon) -> None:
    assert send(door, "/workspace/" + "0" * 32, STATE, soap=S12)[0] == 400

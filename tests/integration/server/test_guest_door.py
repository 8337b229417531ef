"""The guest listener, spoken to over sockets: by guests, by strangers, by those who would rather harm it."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server import listeners
from flyinglow.server.configuration.settings import GuestListener
from flyinglow.server.doctor import guest as doctor_guest
from flyinglow.server.guests.door import AT_ONCE
from rigs.guest_service import GuestService, ServeGuests, serve_guests
from rigs.reactor import reactor_thread
from rigs.waiting import eventually

__all__ = ["reactor_thread", "serve_guests"]
STRANGER = "0" * 32


def test_a_value_travels_from_one_guest_to_another(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    first, second = service.tokens
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(service.ask("GET", "/members?wait=60", second)))
    waiting.start()
    eventually(lambda: service.desk._waiting)
    assert service.report(first, values={"key": "ssh-ed25519 AAAA"}) == 200
    waiting.join(60)
    status, body, headers = answers[0]
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b"value w1 key ssh-ed25519 AAAA\n" in body
    assert b"missing" not in body


def test_nothing_else_is_served_here(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    token = service.tokens[0]
    for path in ("/", "/factory", "/factory?wsdl", "/report/", "/members/../report", "/v1/messages"):
        assert service.ask("POST", path, token, b"{}")[0] == 404, path
    status, _, headers = service.ask("GET", "/report", token)
    assert (status, headers["allow"]) == (405, "POST")
    assert service.ask("POST", "/members", token, b"")[0] == 405


def test_strangers_learn_nothing(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    answers = [
        service.ask("GET", "/members?wait=60", token)[:2] for token in (None, STRANGER, "x", "", service.tokens[0][:-1])
    ]
    answers.append(service.ask("POST", "/report", STRANGER, b'{"status": "ok"}')[:2])
    answers.append(service.ask("POST", "/report", service.ids[0], b'{"status": "ok"}')[:2])
    assert len(set(answers)) == 1
    assert answers[0][0] == 401
    assert service.ask("GET", "/members", STRANGER)[2]["www-authenticate"] == "Bearer"


def test_an_address_with_many_wrong_tokens_is_heard_no_more_but_for_guests(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    assert service.report(service.tokens[0]) == 200
    statuses = [service.ask("GET", "/members", f"{at:032x}")[0] for at in range(40)]
    assert set(statuses) == {401, 429}
    assert statuses.index(429) >= 20
    assert service.ask("GET", "/members", service.tokens[0])[0] == 200


def test_who_talks_too_much_is_told_to_wait(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    statuses = [service.report(service.tokens[0], message=str(at)) for at in range(30)]
    assert statuses[:10] == [200] * 10
    assert 429 in statuses
    assert service.report(service.tokens[1]) == 200
    assert service.ask("POST", "/report", service.tokens[0], b"{}")[2]["retry-after"] == "10"


def test_one_token_has_few_requests_at_once(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    token = service.tokens[1]
    waiting = [threading.Thread(target=service.ask, args=("GET", "/members?wait=60", token)) for _ in range(AT_ONCE)]
    for each in waiting:
        each.start()
    eventually(lambda: sum(map(len, service.desk._waiting.values())) == AT_ONCE)
    assert service.ask("GET", "/members", token)[0] == 429
    assert service.report(service.tokens[0]) == 200
    for each in waiting:
        each.join(60)
    eventually(lambda: service.ask("GET", "/members", token)[0] == 200)


@pytest.mark.parametrize("wait", ["-1", "x", "1e9", "99999", "", "1.5"])
def test_a_wait_that_is_no_number_is_refused(serve_guests: ServeGuests, wait: str) -> None:
    service = serve_guests()
    assert service.ask("GET", f"/members?wait={wait}&x=1", service.tokens[0])[0] == 400


def test_bodies_have_a_limit(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    body = b'{"status": "ok", "message": "' + b"x" * (64 << 10) + b'"}'
    assert service.ask("POST", "/report", service.tokens[0], body)[0] == 413
    assert service.ask("POST", "/report", service.tokens[0], body[: 60 << 10] + b'"}')[0] == 200


def test_a_slow_sender_is_cut_off(serve_guests: ServeGuests) -> None:
    service = serve_guests(timeout=0.5)
    with socket.create_connection(service.address, timeout=60) as slow:
        slow.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_one_address_has_a_share_of_the_connections(serve_guests: ServeGuests) -> None:
    service = serve_guests(max_connections=8)
    held = [socket.create_connection(service.address, timeout=60) for _ in range(2)]
    try:
        eventually(lambda: len(service._site._channels) == 2)
        with socket.create_connection(service.address, timeout=60) as more:
            more.sendall(b"GET /members HTTP/1.1\r\nHost: x\r\n\r\n")
            assert _closed(more)
    finally:
        for each in held:
            each.close()


def _closed(one: socket.socket) -> bool:
    try:
        return one.recv(100) == b""
    except ConnectionResetError:
        return True


def test_what_guests_say_is_in_no_log(serve_guests: ServeGuests, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = serve_guests()
    service.report(service.tokens[0], message="canary\r\nforged", values={"canary": "canary"})
    service.ask("POST", "/report", service.tokens[0], b"canary{")
    service.ask("GET", "/canary", "canary")
    assert "canary" not in caplog.text
    assert not any(token in caplog.text for token in service.tokens)


def test_it_speaks_tls_with_a_certificate(serve_guests: ServeGuests, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    service = serve_guests(certificate=certificate, private_key=key)
    assert service.url.startswith("https://")
    trusting = ssl.create_default_context(cafile=str(certificate))
    assert service.ask("POST", "/report", service.tokens[0], b'{"status": "ok"}', tls=trusting)[0] == 200
    with pytest.raises(InvalidError, match=r"\[listen.guest\] needs both certificate and private_key"):
        listeners.bind(GuestListener(port=0, certificate=certificate))


def test_a_guest_that_hangs_up_while_it_waits_is_forgotten(serve_guests: ServeGuests) -> None:
    service = serve_guests()
    with socket.create_connection(service.address, timeout=60) as one:
        head = f"GET /members?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.tokens[1]}\r\n\r\n"
        one.sendall(head.encode())
        eventually(lambda: service.desk._waiting)
    eventually(lambda: not service.desk._waiting)
    assert service.ask("GET", "/members", service.tokens[1])[0] == 200


def test_a_report_outlives_the_service(serve_guests: Callable[..., GuestService]) -> None:
    service = serve_guests()
    assert service.report(service.tokens[0], values={"a": "b"}) == 200
    kept = service.store.view(lambda tx: tx.guests.reports(service.ids))
    assert dict(kept[service.ids[0]].values) == {"a": "b"}


def test_the_doctor_tells_whether_guests_find_it(serve_guests: ServeGuests) -> None:
    def look(url: str, *, running: bool = True) -> tuple[bool, str]:
        finding = doctor_guest.examine(GuestListener(base_url=url), running=running)
        return finding.ok, finding.detail

    ok, said = look("")
    assert ok
    assert "not configured" in said
    assert look("http://127.0.0.1:1") == (False, "http://127.0.0.1:1 is each guest's own loopback, not this machine")
    assert look("http://192.0.2.1:8482", running=False)[0]
    service = serve_guests()
    assert doctor_guest._asked(service.url) is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in str(doctor_guest._asked(f"http://127.0.0.1:{port}"))

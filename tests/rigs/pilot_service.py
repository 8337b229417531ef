"""The service's side of a pilot's conversation, scripted: real HTTP(S), real keys, and faults on request."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from flyinglow.pilot.messages import Answer, Kind, Message, Standing, message, opened, seal, verify

JOB_KEY = "11" * 32
SLOT_KEY = "22" * 32
Fault = Callable[[Message, bytes], "tuple[int, bytes] | None"]


def lost(_: Message, __: bytes) -> None:
    """Take the message and break the connection off."""
    return


def status_500(_: Message, __: bytes) -> tuple[int, bytes]:
    return 500, b"out of order"


def wrong_mac(said: Message, answer: bytes) -> tuple[int, bytes]:
    return 200, seal(Answer(ack=said.sequence, key="33" * 32, session="forged", standing=Standing(end=True)), "44" * 32)


def slow(seconds: float) -> Fault:
    def fault(_: Message, answer: bytes) -> tuple[int, bytes]:
        time.sleep(seconds)
        return 200, answer

    return fault


@dataclass
class Heard:
    """One message as it came."""

    said: Message
    at: float
    key: str


@dataclass
class Desk:
    """One slot at the service."""

    stored: list[Message] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    said_turn: tuple[str, int] = ("", 0)
    poll_turn: int = 0
    orders: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    told: Standing = field(default_factory=Standing)
    error: dict[str, Any] | None = None


class Listener(ThreadingHTTPServer):
    """A server whose connections can be broken off."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self.open_now: list[socket.socket] = []
        super().__init__(*arguments)

    def handle_error(self, *_: object) -> None:
        """Say nothing: a pilot that breaks off is part of the story."""

    def get_request(self) -> Any:
        got = super().get_request()
        self.open_now.append(got[0])
        return got


class PilotService:
    """Use it as a context. ``faults`` are used up in turn by reports, ``poll_faults`` by polls."""

    def __init__(self, *, certificate: tuple[Path, Path] | None = None, long_poll: float = 5.0) -> None:
        self.changed = threading.Condition()
        self.heard: list[Heard] = []
        self.faults: deque[Fault] = deque()
        self.poll_faults: deque[Fault] = deque()
        self.said_faults: deque[Fault] = deque()
        self.session = "s1"
        self.epoch = 1
        self.version = 1
        self.long_poll = long_poll
        self._desks: dict[str, Desk] = {}
        self._numbers = itertools.count(1000)
        self._certificate = certificate
        self._server: Listener | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://localhost:{self.port}/"

    def up(self) -> None:
        """Listen, on the port of the last time."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                reply = service.answer(body)
                if reply is None:
                    self.close_connection = True
                    return
                self.send_response(reply[0])
                self.send_header("Content-Length", str(len(reply[1])))
                self.end_headers()
                self.wfile.write(reply[1])

            def log_message(self, *_: object) -> None:
                pass

        self._server = Listener(("localhost", self.port), Handler)
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self) -> None:
        """Stop listening and break every connection off."""
        server, self._server = self._server, None
        if server:
            server.shutdown()
            server.server_close()
            for connection in server.open_now:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            with self.changed:
                self.changed.notify_all()

    def desk(self, slot: str) -> Desk:
        return self._desks.setdefault(slot, Desk())

    # what a test does

    def order(self, slot_id: str, name: str, tag: str | None = "vm1", /, **body: Any) -> int:
        """Put an order to a slot's agent; return its id."""
        return self.orders(slot_id, (name, tag, body))[0]

    def orders(self, slot_id: str, *orders: tuple[str, str | None, dict[str, Any]], version: int = 1) -> list[int]:
        """Put several orders to a slot's agent at once; return their ids."""
        with self.changed:
            numbers = [next(self._numbers) for _ in orders]
            for number, (name, tag, body) in zip(numbers, orders, strict=True):
                line = {"v": version, "id": number, "order": name, "tag": tag, "body": body}
                self.desk(slot_id).orders.append((number, line))
            self.changed.notify_all()
        return numbers

    def stand(self, slot: str, **changes: Any) -> None:
        """Change how things stand."""
        with self.changed:
            self.desk(slot).standing = replace(self.desk(slot).standing, **changes)
            self.changed.notify_all()

    def wait(self, question: Callable[[], Any], seconds: float = 120.0) -> Any:
        """Wait until it is true, and return it."""
        with self.changed:
            done = self.changed.wait_for(question, seconds)
        if not done:
            kinds = [heard.said.kind.value for heard in self.heard if heard.said.kind is not Kind.POLL]
            raise AssertionError(f"not true after {seconds:g} s; heard {kinds}")
        return done

    def stored(self, slot: str, kind: str) -> list[Message]:
        return [said for said in self.desk(slot).stored if said.kind.value == kind]

    def report(self, slot: str, kind: str, seconds: float = 120.0) -> Message:
        """Wait for a report of a kind."""
        self.wait(lambda: self.stored(slot, kind), seconds)
        return self.stored(slot, kind)[0]

    def kinds(self, slot: str) -> list[str]:
        return [said.kind.value for said in self.desk(slot).stored]

    def answer_to(self, slot: str, number: int, seconds: float = 120.0) -> dict[str, Any]:
        """Wait for the agent's answer to an order."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.desk(slot).lines if line.get("id") == number]

        self.wait(found, seconds)
        return found()[0]

    # what a pilot hears

    def answer(self, body: bytes) -> tuple[int, bytes] | None:
        try:
            fields, text, mac = opened(body)
            key = JOB_KEY if fields["kind"] == "hello" else SLOT_KEY
            verify(key, text, mac)
            said = message(fields)
        except Exception as error:  # noqa: BLE001 - as the real one: no word to strangers
            return 400, str(error).encode()
        with self.changed:
            if said.kind is not Kind.POLL or not self.poll_faults:
                self.heard.append(Heard(said, time.monotonic(), key))
            faults = {Kind.POLL: self.poll_faults, Kind.SAID: self.said_faults}.get(said.kind, self.faults)
            fault = faults.popleft() if faults else None
        if fault is status_500:
            return status_500(said, b"")
        made = self._polled(said) if said.kind is Kind.POLL else self._taken(said)
        made = replace(made, error=self.desk(said.slot).error, version=self.version, software="scripted 9.9")
        sealed = seal(made, key, mac)
        return fault(said, sealed) if fault else (200, sealed)

    def _taken(self, said: Message) -> Answer:
        with self.changed:
            desk = self.desk(said.slot)
            if said.kind is Kind.SAID:
                if said.session == self.session and (said.session, said.turn) > desk.said_turn:
                    desk.said_turn = (said.session, said.turn)
                    desk.lines += [json.loads(line) for line in said.body["lines"]]
            elif said.sequence == len(desk.stored) + 1:
                desk.stored.append(said)
            self.changed.notify_all()
            return Answer(
                ack=len(desk.stored),
                key=SLOT_KEY if said.kind is Kind.HELLO else "",
                epoch=self.epoch,
                session=self.session,
                standing=desk.standing,
            )

    def _polled(self, said: Message) -> Answer:
        desk = self.desk(said.slot)
        with self.changed:
            session = self.session
            fresh = said.session == session and said.turn > desk.poll_turn
            if fresh:
                desk.poll_turn = said.turn

            def due() -> bool:
                waiting = [order for order in desk.orders if order[0] > said.got]
                return bool(waiting) or desk.standing != desk.told or self._server is None or session != self.session

            if fresh:
                self.changed.wait_for(due, self.long_poll)
            desk.told = desk.standing
            orders = tuple(order for order in desk.orders if order[0] > said.got) if fresh else ()
            return Answer(
                ack=len(desk.stored), epoch=self.epoch, session=self.session, standing=desk.standing, orders=orders
            )

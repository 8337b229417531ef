"""Answer one node that asks for an image: with what is here of it, and with the rest as it comes.

``GET /SHA256`` with the bearer key of an offer, ``Range: bytes=N-`` where wanted; nothing else is understood. A key is
in no message and no log. Nothing that is sent is believed by whoever gets it: its checksum is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from flyinglow.nodectl.images.shelf import Piece, Shelf

STRETCH = 1 << 20  # bytes between two looks at whether to go on
PATH = re.compile(r"/([0-9a-f]{64})\Z")
RANGE = re.compile(r"bytes=(\d{1,18})-\Z")
OK, PARTIAL, DENIED, PAST, LATER = 200, 206, 401, 416, 503


@dataclass(frozen=True)
class Pace:
    """How patient a node is with itself and with others. Times are seconds."""

    turn: float = 0.02  # between two looks at a file that grows
    begin: float = 10.0  # until somebody on this node begins to fetch what another one waits for
    lull: float = 1.0  # after nobody fetches any more what has not come as a whole
    timeout: float = 30.0  # of a client that says nothing, or takes nothing
    longest: float = 900.0  # of waiting for one more byte


class Waiting:
    """How long one client has waited for more of one image, and whether more can be expected."""

    def __init__(self, pace: Pace, clock: Callable[[], float], is_fetched: Callable[[], bool]) -> None:
        self._pace = pace
        self._clock = clock
        self._is_fetched = is_fetched
        self._since = self._idle = clock()
        self._begun = False

    def moved(self) -> None:
        """Hear that more has come."""
        self._since = self._idle = self._clock()

    @property
    def is_worth_it(self) -> bool:
        """Whether somebody fetches the image, or has only just begun or ceased to."""
        now = self._clock()
        if self._is_fetched():
            self._idle, self._begun = now, True
        patience = self._pace.lull if self._begun else self._pace.begin
        return now - self._idle < patience and now - self._since < self._pace.longest


@dataclass(frozen=True)
class Handing:
    """Hands out what ``allows(key, digest)`` says until ``stopped()``."""

    shelf: Shelf
    allows: Callable[[str, str], bool]
    stopped: Callable[[], bool] = lambda: False
    pace: Pace = Pace()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what a server makes for each connection: one request, one answer."""
        handing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "flyinglow-nodectl", ""
            timeout = handing.pace.timeout

            def log_message(self, *_: Any) -> None:
                """Say nothing: a request has a key in it."""

            def do_GET(self) -> None:
                """Answer, and close."""
                self.close_connection = True
                handing.answer(self)

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request, waiting for what has not come yet."""
        found = PATH.match(request.path)
        scheme, _, key = (request.headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or found is None or not self.allows(key, found[1]):
            _refuse(request, DENIED)
            return
        digest, asked = found[1], RANGE.match(request.headers.get("Range") or "")
        waiting = Waiting(self.pace, self.clock, lambda: self.shelf.is_fetched(digest))
        while True:
            with self.shelf.piece(digest) as piece:
                if piece is not None:
                    self._send(request, piece, int(asked[1]) if asked else 0, waiting)
                    return
            if not self._wait(waiting):
                _refuse(request, LATER)
                return

    def _send(self, request: BaseHTTPRequestHandler, piece: Piece, begin: int, waiting: Waiting) -> None:
        if begin and begin >= piece.total:
            _refuse(request, PAST)
            return
        request.send_response(PARTIAL if begin else OK)
        request.send_header("Content-Length", str(piece.total - begin))
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{piece.total - 1}/{piece.total}")
        request.end_headers()
        done = begin
        while done < piece.total and not self.stopped():
            some = min(piece.arrived - done, STRETCH)
            if some > 0:
                done += request.connection.sendfile(piece.file, done, some)
                waiting.moved()
            elif piece.is_stale or not self._wait(waiting):
                return  # short of what was announced: whoever reads it goes on elsewhere

    def _wait(self, waiting: Waiting) -> bool:
        self.sleep(self.pace.turn)
        return waiting.is_worth_it and not self.stopped()


def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
    request.send_response(status)
    request.send_header("Content-Length", "0")
    request.end_headers()

"""A real web server for images, which can be told to misbehave: no ranges, short or endless bodies, redirects."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE = 1 << 14


class ImageServer:
    """Serves and takes the files below a folder. ``asked`` is what was asked for: method, path, Range."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ranges = True
        self.cut_after: int | None = None  # bytes of each body, although more is announced
        self.endless = False
        self.moved: str | None = None  # where everything is said to be
        self.fails: list[int] = []  # statuses that the next requests are answered with
        self.gate = threading.Event()  # bodies go on after their first 64 KiB when it is set
        self.gate.set()
        self.drip: float | None = (
            None  # seconds between pieces of 16 KiB while the gate is closed, after the first ones
        )
        self.login: str | None = None  # what Authorization must be
        self.sent = 0  # bytes of bodies
        self.untold = False  # how long a body is
        self.length: int | None = None  # what is said of a body's length, whatever it is
        self.asked: list[tuple[str, str, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server.server_address[1])

    def url(self, name: str, user: str = "") -> str:
        """Return the address of a file."""
        return f"http://{user}127.0.0.1:{self.port}/{name}"

    def gets(self) -> int:
        """Return how many files were asked for."""
        return sum(method == "GET" for method, _, _ in self.asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def do_GET(self) -> None:
                site.asked.append(("GET", self.path, self.headers.get("Range")))
                site.get(self)

            def do_PUT(self) -> None:
                site.asked.append(("PUT", self.path, None))
                site.put(self)

            def do_DELETE(self) -> None:
                (site.folder / self.path[1:]).unlink(missing_ok=True)
                _head(self, 204)

        return Handler

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request as this server is told to."""
        if self._refused(handler):
            return
        if self.moved is not None:
            there, self.moved = self.moved, None
            _head(handler, 302, Location=there)
            return
        if self.endless:
            handler.close_connection = True
            handler.send_response(200)
            handler.end_headers()
            self._pour(handler)
            return
        path = self.folder / handler.path.split("?")[0][1:]
        if not path.is_file():
            _head(handler, 404)
            return
        data = path.read_bytes()
        begin, asked = 0, handler.headers.get("Range")
        if asked and self.ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                _head(handler, 416)
                return
            words = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            handler.send_response(206)
            handler.send_header("Content-Range", words)
        else:
            handler.send_response(200)
        if self.untold:
            handler.close_connection = True
        else:
            handler.send_header("Content-Length", str(self.length or len(data) - begin))
        handler.end_headers()
        self._write(handler, data[begin:])

    def put(self, handler: BaseHTTPRequestHandler) -> None:
        """Take a file."""
        length = int(handler.headers["Content-Length"])
        if not self.gate.is_set():
            self.gate.wait(300)
        data = handler.rfile.read(length)
        if len(data) < length or self._refused(handler):
            handler.close_connection = True
            return
        (self.folder / handler.path[1:]).write_bytes(data)
        _head(handler, 201)

    def _refused(self, handler: BaseHTTPRequestHandler) -> bool:
        if self.login is not None and handler.headers.get("Authorization") != self.login:
            _head(handler, 401)
            return True
        if self.fails:
            _head(handler, self.fails.pop(0))
            return True
        return False

    def _write(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        data = data if self.cut_after is None else data[: self.cut_after]
        first = 1 << 16
        try:
            handler.wfile.write(data[:first])
            self.sent += len(data[:first])
            while self.drip is not None and first < len(data) and not self.gate.wait(self.drip):
                handler.wfile.write(data[first : first + PIECE])
                first += len(data[first : first + PIECE])
                self.sent += PIECE
            self.gate.wait(300)
            handler.wfile.write(data[first:])
            self.sent += len(data[first:])
        except OSError:
            handler.close_connection = True
        if self.cut_after is not None or self.length is not None:
            handler.close_connection = True

    @staticmethod
    def _pour(handler: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                handler.wfile.write(b"\0" * 65536)
        except OSError:
            return


def _head(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {**headers, "Content-Length": "0"}.items():
        handler.send_header(name, value)
    handler.end_headers()


@contextmanager
def image_server(folder: Path) -> Iterator[ImageServer]:
    """Run a server for as long as the context lasts."""
    site = ImageServer(folder)
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.gate.set()
        site.server.shutdown()
        site.server.server_close()
        thread.join(120)

"""Run as a program of its own, in a node's name space: what guests report to, and ask, in the service's place.

``python context_listener.py ADDRESS PORT ANSWER LOG``: every request is a line of JSON in LOG; ANSWER is a file that
``GET .../members`` gets, and until it is there a guest is refused.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ANSWER, LOG = Path(sys.argv[3]), Path(sys.argv[4])


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        """Take a report."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._note(body)
        self._answer(b"")

    def do_GET(self) -> None:
        """Tell of the members."""
        self._note("")
        self._answer(ANSWER.read_bytes() if ANSWER.exists() else None)

    def _note(self, body: str) -> None:
        fact = {"path": self.path, "word": self.headers["Authorization"], "type": self.headers["Content-Type"]}
        with LOG.open("a") as file:
            file.write(json.dumps({**fact, "body": body}) + "\n")

    def _answer(self, body: bytes | None) -> None:
        self.send_response(503 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()

"""Lets an unprivileged service reach root's programs on nodes that are network namespaces, in place of sudo or SSH.

``Doorman`` listens on a socket and runs a node's control program in its namespace for everybody who comes, with the
words that they bring; ``doorman.py SOCKET WORDS...`` comes, and is what the service is told to run.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class Doorman:
    """One node's; a context manager."""

    def __init__(self, path: Path, argv: Sequence[str]) -> None:
        """``argv`` are the words that begin every command."""
        self._argv = list(argv)
        self._children: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o777)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for child in self._children:
            child.wait(60)

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            words = json.loads(visitor.makefile("rb", buffering=0).readline())
            self._children.append(
                subprocess.Popen([*self._argv, *words], stdin=visitor.fileno(), stdout=visitor.fileno())
            )
            visitor.close()


def main() -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(sys.argv[1])
        door.sendall(json.dumps(sys.argv[2:]).encode() + b"\n")
        threading.Thread(target=_bring, args=(door,), daemon=True).start()
        while data := door.recv(65536):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _bring(door: socket.socket) -> None:
    while data := os.read(sys.stdin.fileno(), 65536):
        door.sendall(data)
    door.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()

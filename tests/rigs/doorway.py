"""A door into a network namespace for a program outside of it that is not root: a unix socket, led on to one address.

Usage: ``doorway.py listen SOCKET ADDRESS PORT`` inside the namespace; ``doorway.py enter SOCKET`` joins standard input
and output to a connection through it, which is what OpenSSH wants of a ProxyCommand.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 16


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], done: Callable[[], object]) -> None:
    try:
        while data := read(CHUNK):
            write(data)
        done()
    except OSError:
        pass  # one side is gone; the other copy ends by it


def _join(left: socket.socket, right: socket.socket) -> None:
    def end(side: socket.socket) -> Callable[[], object]:
        return lambda: side.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=_copy, args=(right.recv, left.sendall, end(left)), daemon=True)
    back.start()
    _copy(left.recv, right.sendall, end(right))
    back.join()
    left.close()
    right.close()


def _lead_on(caller: socket.socket, address: str, port: int) -> None:
    try:
        target = socket.create_connection((address, port), 10)
    except OSError:
        caller.close()  # as if it had been refused
        return
    target.settimeout(None)
    _join(caller, target)


def listen(path: Path, address: str, port: int) -> None:
    """Lead every connection to the socket on; says ``open`` when it listens, and never ends by itself."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        path.chmod(0o666)
        door.listen()
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while True:
            caller, _ = door.accept()
            threading.Thread(target=_lead_on, args=(caller, address, port), daemon=True).start()


def enter(path: str) -> None:
    """Go through the door."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(path)
        threading.Thread(
            target=_copy,
            args=(lambda most: os.read(0, most), door.sendall, lambda: door.shutdown(socket.SHUT_WR)),
            daemon=True,
        ).start()
        _copy(door.recv, lambda data: os.write(1, data), lambda: None)


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        enter(sys.argv[2])

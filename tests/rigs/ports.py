"""TCP ports on loopback for servers that must be told theirs: of this process alone, and never of a client.

A port that the kernel chose and that was let go again may be anybody's a moment later: another test's server, or the
near end of some connection. So each test process holds a block of ports below those that the kernel hands out.
"""

import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

FIRST, SIZE, BLOCKS = 12_000, 100, 200  # up to 31 999; the kernel hands out 32 768 and above


@functools.cache
def _block() -> Iterator[int]:
    """Take a block for as long as this process lives, and go round its ports."""
    folder = Path(tempfile.gettempdir(), f"flyinglow-ports-{os.geteuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in random.sample(range(BLOCKS), BLOCKS):
        held = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return itertools.cycle(range(FIRST + number * SIZE, FIRST + (number + 1) * SIZE))
    raise RuntimeError("no block of ports is free")


def free_port() -> int:
    """Return a TCP port that is free on loopback, and that no other test takes."""
    for port in itertools.islice(_block(), SIZE):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no port of this process's block is free")


__all__ = ["free_port"]

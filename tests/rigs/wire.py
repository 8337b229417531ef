"""Be whatever is at the end of a wire, frame by frame: ``wire.py INTERFACE`` inside a network namespace.

A line of hex on standard input is sent as a frame, and every frame that arrives is a line of hex on standard output. A
tap is opened as a guest's hypervisor would open it; on every other interface all is heard, whoever it is for. ``Wire``
drives it.
"""

import fcntl
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

TUNSETIFF = 0x400454CA
TAP_NO_PI = 0x1002
SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS = 263, 1, 1


class Wire:
    """One end of a wire; a context manager."""

    def __init__(self, argv: Callable[..., list[str]], interface: str) -> None:
        """``argv`` makes the words that run a program in the right namespace."""
        words = argv(sys.executable, str(Path(__file__)), interface)
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._frames: queue.Queue[bytes] = queue.Queue()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.stdin.close()
            self._process.wait(120)
            self._process.stdout.close()
            raise AssertionError(f"{interface} is not there")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *frames: bytes) -> None:
        assert self._process.stdin is not None
        for frame in frames:
            self._process.stdin.write(f"{frame.hex()}\n")
        self._process.stdin.flush()

    def hears(self, wanted: Callable[[bytes], Any], seconds: float) -> Any:
        """Return what ``wanted`` makes of the first frame it finds true; None when none comes in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                found = wanted(self._frames.get(timeout=left))
            except queue.Empty:
                return None
            if found:
                return found
        return None

    def until(self, mark: bytes, seconds: float) -> list[bytes]:
        """Return the frames that come until one contains ``mark``, which is the last then."""
        seen: list[bytes] = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                seen.append(self._frames.get(timeout=left))
            except queue.Empty:
                break
            if mark in seen[-1]:
                break
        return seen

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(120)
        self._reader.join(120)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._frames.put(bytes.fromhex(line))


def _open(interface: str) -> int:
    if Path(f"/sys/class/net/{interface}/tun_flags").exists():
        handle = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", interface.encode(), TAP_NO_PI))
        return handle
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((interface, 0))
    everything = struct.pack("iHH8s", socket.if_nametoindex(interface), PROMISCUOUS, 0, bytes(8))
    wire.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, everything)
    return wire.detach()


def main() -> None:
    handle = _open(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    rest = b""
    while True:
        readable, _, _ = select.select([0, handle], [], [])
        if handle in readable:
            sys.stdout.write(f"{os.read(handle, 65536).hex()}\n")
            sys.stdout.flush()
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                os.write(handle, bytes.fromhex(line.decode()))


if __name__ == "__main__":
    main()

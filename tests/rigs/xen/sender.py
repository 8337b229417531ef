"""The smallest program that sends a frame, for guests that have none: some 200 bytes of ELF, which need no compiler.

It reads a ``parcel`` from its standard input and sends what is in it; its exit code is 1 when that failed.
"""

from __future__ import annotations

import struct

BASE = 0x400000
INTERFACE = 2  # of a guest whose first is lo
PACKET = 17  # AF_PACKET
CODE = bytes.fromhex(
    "4881ec00100000"  # sub rsp, 4096
    "31ff4889e6ba0010000031c00f05"  # read(0, rsp, 4096)
    "4989c4"  # mov r12, rax
    "bf11000000be0300000031d2b8290000000f05"  # socket(AF_PACKET, SOCK_RAW, 0)
    "89c7488d7424144c89e24883ea144531d24989e041b914000000b82c0000000f05"  # sendto(.., rsp + 20, r12 - 20, 0, rsp, 20)
    "4889c748c1ef3fb83c0000000f05"  # exit(rax < 0)
)


def program() -> bytes:
    """Return the program, for x86-64."""
    start = 64 + 56
    size = start + len(CODE)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + start, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000) + CODE


def parcel(frame: bytes, interface: int = INTERFACE) -> bytes:
    """Return a frame with the address that the program sends it to: a ``struct sockaddr_ll``."""
    return struct.pack("<HHiHBB8s", PACKET, 0, interface, 0, 0, 6, frame[:6]) + frame

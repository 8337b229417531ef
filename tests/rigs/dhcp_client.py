"""Ask for an address as a guest with some MAC would: ``dhcp_client.py INTERFACE MAC SECONDS`` prints what is offered.

A program of its own, so that it can run inside a network namespace. Prints ``{}`` when nobody answers.
"""

import ipaddress
import json
import os
import socket
import struct
import sys
import time

COOKIE = b"\x63\x82\x53\x63"
NAMES = {1: "mask", 3: "router", 6: "dns", 12: "hostname", 54: "server"}


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def discover(mac: bytes, transaction: bytes) -> bytes:
    options = b"\x35\x01\x01" + bytes((55, 5, 1, 3, 6, 12, 54)) + b"\xff"
    head = struct.pack("!BBBB4sHH16x16s192x", 1, 1, 6, 0, transaction, 0, 0x8000, mac + bytes(10))
    message = head + COOKIE + options
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    fields = [0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4]
    fields[7] = checksum(struct.pack("!BBHHHBBH4s4s", *fields))
    return b"\xff" * 6 + mac + b"\x08\x00" + struct.pack("!BBHHHBBH4s4s", *fields) + udp


def read(frame: bytes, transaction: bytes) -> dict[str, str]:
    """Return what a frame offers; empty when it is no answer to us."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17 or frame[36:38] != b"\x00\x44":
        return {}
    message = frame[42:]
    if message[:1] != b"\x02" or message[4:8] != transaction or message[236:240] != COOKIE:
        return {}
    found, at = {"ip": str(ipaddress.IPv4Address(message[16:20]))}, 240
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        code, value = message[at], message[at + 2 : at + 2 + message[at + 1]]
        if code in NAMES:
            found[NAMES[code]] = value.decode() if code == 12 else str(ipaddress.IPv4Address(value[:4]))
        at += 2 + message[at + 1]
    return found


def main() -> None:
    interface, mac, seconds = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), float(sys.argv[3])
    transaction = os.urandom(4)
    found: dict[str, str] = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind((interface, 0))
        wire.settimeout(0.2)
        deadline = time.monotonic() + seconds
        sent = 0.0
        while not found and time.monotonic() < deadline:
            if time.monotonic() - sent > 0.5:
                wire.send(discover(mac, transaction))
                sent = time.monotonic()
            try:
                found = read(wire.recv(2048), transaction)
            except TimeoutError:
                continue
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

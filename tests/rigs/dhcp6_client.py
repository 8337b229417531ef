"""DHCPv6 and router solicitations as a guest sends them (RFC 8415, RFC 4861), and what the answers say."""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rigs import frames
from rigs.wire import Wire

T = TypeVar("T")
ALL_SERVERS, ALL_SERVERS_MAC = "ff02::1:2", "33:33:00:01:00:02"
ALL_ROUTERS, ALL_ROUTERS_MAC = "ff02::2", "33:33:00:00:00:02"
SOLICIT, ADVERTISE, REQUEST, REPLY = 1, 2, 3, 7
CLIENT, SERVER, ADDRESSES, ADDRESS, WANTED, ELAPSED, DNS = 1, 2, 3, 5, 6, 8, 23


@dataclass(frozen=True)
class Heard:
    """What a server said."""

    kind: int
    server: bytes
    ip: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advertised:
    """What a router advertisement says: its lifetime, whether addresses are managed, and those of its prefixes that
    guests may make addresses in by themselves."""

    lifetime: int
    managed: bool
    prefixes: tuple[str, ...] = ()
    free: tuple[str, ...] = ()


def message(mac: str, kind: int, transaction: bytes, server: bytes = b"") -> bytes:
    """Return the frame of a SOLICIT or REQUEST for one address."""
    body = bytes([kind]) + transaction + _option(CLIENT, struct.pack("!HH", 3, 1) + frames.mac(mac))
    body += _option(SERVER, server) if server else b""
    body += _option(ADDRESSES, frames.mac(mac)[2:] + bytes(8)) + _option(ELAPSED, bytes(2))
    body += _option(WANTED, struct.pack("!H", DNS))
    sender = frames.link_local(mac)
    datagram = struct.pack("!HHHH", 546, 547, 8 + len(body), 0) + body
    pseudo = frames.ip(sender) + frames.ip(ALL_SERVERS) + struct.pack("!II", len(datagram), 17)
    datagram = datagram[:6] + struct.pack("!H", frames.checksum(pseudo + datagram) or 0xFFFF) + datagram[8:]
    return frames.ether(mac, ALL_SERVERS_MAC, 0x86DD, frames.ipv6(sender, ALL_SERVERS, 17, datagram))


def solicitation(mac: str) -> bytes:
    """Return a router solicitation."""
    frame = frames.icmp6(mac, frames.link_local(mac), ALL_ROUTERS, 133, bytes(4) + b"\x01\x01" + frames.mac(mac))
    return frames.mac(ALL_ROUTERS_MAC) + frame[6:]


def read(frame: bytes, transaction: bytes) -> Heard | None:
    """Return what a frame of a server says to us."""
    if frame[12:14] != b"\x86\xdd" or frame[20] != 17 or frame[54:56] != struct.pack("!H", 547):
        return None
    said = frame[62:]
    if said[1:4] != transaction:
        return None
    options = dict(_options(said[4:]))
    inner = dict(_options(options.get(ADDRESSES, bytes(12))[12:]))
    ip = str(ipaddress.IPv6Address(inner[ADDRESS][:16])) if ADDRESS in inner else ""
    dns = options.get(DNS, b"")
    servers = tuple(str(ipaddress.IPv6Address(dns[at : at + 16])) for at in range(0, len(dns), 16))
    return Heard(said[0], options.get(SERVER, b""), ip, servers)


def advertised(frame: bytes) -> Advertised | None:
    """Return what a router advertisement says."""
    if frame[12:14] != b"\x86\xdd" or frame[20] != 58 or frame[54] != 134:
        return None
    flags, lifetime = frame[59], struct.unpack("!H", frame[60:62])[0]
    end = 54 + struct.unpack("!H", frame[18:20])[0]
    at, prefixes, free = 70, [], []
    while at < end and frame[at + 1]:
        if frame[at] == 3:
            prefix = f"{ipaddress.IPv6Address(frame[at + 16 : at + 32])}/{frame[at + 2]}"
            prefixes.append(prefix)
            free += [prefix] if frame[at + 3] & 0x40 else []
        at += 8 * frame[at + 1]
    return Advertised(lifetime, bool(flags & 0x80), tuple(prefixes), tuple(free))


def asks(frame: bytes, mac: str) -> bool:
    """Tell whether a frame is this guest's question for a server or a router."""
    if frame[6:14] != frames.mac(mac) + b"\x86\xdd":
        return False
    return (frame[20] == 17 and frame[56:58] == struct.pack("!H", 547)) or (frame[20] == 58 and frame[54] == 133)


def route(wire: Wire, mac: str, rounds: int = 20) -> Advertised | None:
    """Ask for routers until one says what it is; None when none does."""
    for _ in range(rounds):
        wire.send(solicitation(mac))
        found = wire.hears(_answering(wire, mac, advertised), 0.5)
        if isinstance(found, Advertised):
            return found
    return None


def lease(wire: Wire, mac: str, rounds: int = 20) -> Heard | None:
    """Ask until an address is confirmed; None when nobody answers."""
    offered = _exchange(wire, mac, SOLICIT, b"", rounds)
    return None if offered is None else _exchange(wire, mac, REQUEST, offered.server, rounds)


def _exchange(wire: Wire, mac: str, kind: int, server: bytes, rounds: int) -> Heard | None:
    transaction = bytes([kind]) + frames.mac(mac)[-2:]
    for _ in range(rounds):
        wire.send(message(mac, kind, transaction, server))
        found = wire.hears(_answering(wire, mac, partial(read, transaction=transaction)), 0.5)
        if isinstance(found, Heard):
            return found
    return None


def answers(wire: Wire, mac: str, frame: bytes) -> None:
    """Answer who asks for our MAC, as every system does."""
    own = frames.link_local(mac)
    if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135 and frame[62:78] == frames.ip(own):
        wire.send(frames.neighbour(mac, own, own, answer=True))


def _answering(wire: Wire, mac: str, look: Callable[[bytes], T | None]) -> Callable[[bytes], T | None]:
    """Look at what is heard, and answer meanwhile who asks for our MAC."""

    def heard(frame: bytes) -> T | None:
        answers(wire, mac, frame)
        return look(frame)

    return heard


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 4 <= len(data):
        code, length = struct.unpack("!HH", data[at : at + 4])
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found

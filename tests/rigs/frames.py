"""Frames as honest and dishonest guests send them, and what tells them again at the other end."""

import ipaddress
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "33:33:00:00:00:01"


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def link_local(text: str) -> str:
    octets = mac(text)
    host = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host))


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return (mac(target) + mac(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def arp(source: str, sender: str, wanted: str, *, inner: str | None = None, answer: bool = False) -> bytes:
    words = mac(inner or source) + ip(sender) + bytes(6) + ip(wanted)
    return ether(source, BROADCAST, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if answer else 1) + words)


def ipv4(sender: str, target: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + ip(sender) + ip(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source_port: int, target_port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def datagram(source: str, sender: str, target: str, payload: bytes, ports: tuple[int, int] = (4000, 4000)) -> bytes:
    """A UDP packet to everybody on the wire."""
    return ether(source, BROADCAST, 0x0800, ipv4(sender, target, 17, udp(*ports, payload)))


def ipv6(sender: str, target: str, following: int, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 255) + ip(sender) + ip(target) + payload


def icmp6(source: str, sender: str, target: str, kind: int, body: bytes, *, before: bytes = b"") -> bytes:
    """An ICMPv6 message; ``before`` are options for all hops that stand in its way."""
    message = bytes([kind, 0, 0, 0]) + body
    pseudo = ip(sender) + ip(target) + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    packet = ipv6(sender, target, 0, b"\x3a" + before + message) if before else ipv6(sender, target, 58, message)
    return ether(source, ALL_NODES, 0x86DD, packet)


def router(source: str, sender: str, marker: bytes, **how: bytes) -> bytes:
    """A router advertisement: of a default route, and of this MAC."""
    return icmp6(
        source, sender, "ff02::1", 134, b"\x40\x00\x07\x08" + bytes(8) + b"\x01\x01" + mac(source) + marker, **how
    )


def neighbour(source: str, sender: str, about: str, *, answer: bool) -> bytes:
    """A neighbour advertisement or solicitation about an address."""
    option = bytes([2 if answer else 1, 1]) + mac(source) if sender != "::" else b""
    body = (b"\x20\0\0\0" if answer else bytes(4)) + ip(about) + option
    return icmp6(source, sender, "ff02::1", 136 if answer else 135, body)


def datagram6(source: str, sender: str, payload: bytes, ports: tuple[int, int] = (4000, 4000)) -> bytes:
    return ether(source, ALL_NODES, 0x86DD, ipv6(sender, "ff02::1", 17, udp(*ports, payload)))


def tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]

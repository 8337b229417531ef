"""A guest that pretends to be another: two networks of both families, and a script that tries addresses not its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PUBLIC = {"gateway": "198.51.100.1", "cidr6": "fd00:51::/64", "gateway6": "fd00:51::1", "dns": ["198.51.100.1"]}
"""What the network ``public`` has besides its range."""

_TRICKS = """#!/bin/sh
exec > /dev/console 2>&1
attempt() {
    if ping -c PINGS -W 1 -I "$1" "$2" > /dev/null; then echo "TRICK $1 through"; else echo "TRICK $1 stopped"; fi
}
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
ip address add 198.51.100.99/32 dev eth0
ip -6 address add fd00:51::99/128 dev eth0
attempt 198.51.100.99 198.51.100.1
attempt fd00:51::99 fd00:51::1
ip address del 198.51.100.99/32 dev eth0
ip -6 address del fd00:51::99/128 dev eth0
"""


def tricks(pings: int) -> bytes:
    """Return the script; it says ``TRICK ADDRESS stopped``, or ``through``, of each of its false addresses."""
    return _TRICKS.replace("PINGS", str(pings)).encode()


def on_bridges(toml: str, networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a service's configuration with one VM a node, on bridges, and with further keys of its networks."""
    text = toml.replace('{public = "", private = ""}', '{public = "pub", private = "priv"}')
    text = text.replace("memory_mb = 2048", "memory_mb = 200")  # so that each node has one
    for name, more in networks.items():
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in more.items())
        text = text.replace(f"[network.{name}]\n", f"[network.{name}]\n{lines}\n")
    return text

"""What an event says of NICs, as plain JSON: what a client of this network would want to know, and no site's secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flyinglow.workspace.model import Nic


def nic_bodies(nics: Iterable[Nic]) -> list[dict[str, Any]]:
    """Return the ``nics`` of a networking event's body (``notification.payload`` writes them down)."""
    return [_body(nic) for nic in nics]


def _body(nic: Nic) -> dict[str, Any]:
    body: dict[str, Any] = {
        "network": nic.network,
        "name": nic.name,
        "ip": nic.ip,
        "prefix": nic.prefix,
        "mac": nic.mac,
        "hostname": nic.hostname,
        "gateway": nic.gateway,
        "dns": list(nic.dns),
    }
    if nic.ip6:
        body |= {"ip6": nic.ip6, "prefix6": nic.prefix6, "gateway6": nic.gateway6, "dns6": list(nic.dns6)}
    if nic.dropped:
        body["dropped"] = dict(nic.dropped)
    return body if nic.delivery == "dhcp" else {**body, "delivery": nic.delivery}

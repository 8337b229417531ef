"""The mark of a request by which a repeated client token is told from a token used twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import datetime

from flyinglow.factory.model import CreateRequest
from flyinglow.workspace.model import Hardware

_LEASED_SINCE = frozenset({"ip6", "prefix6", "gateway6", "dns6", "delivery", "vlan", "dropped"})
"""What NICs are leased with, and was not there when marks were first made."""


def digest(request: CreateRequest) -> str:
    """Return the SHA-256 (hex) of all that the request asks for; the token itself is no part of it."""
    asked = dataclasses.asdict(dataclasses.replace(request, token=None))
    if not request.preemptable:
        del asked["preemptable"]  # as it was before there was a choice: marks outlive an upgrade
    if request.ready_within is None:
        del asked["ready_within"]  # likewise
    for part, plain in zip(request.parts, asked["parts"], strict=True):
        if part.hardware == Hardware():
            del plain["hardware"]  # likewise
    for disk in (disk for part in asked["parts"] for disk in part["disks"]):
        for key in ("file_system", "sha256", "format", "size_mb", "kernel_from"):
            if disk[key] is None:
                del disk[key]  # likewise
        del disk["public"]  # which is not asked for
    for nic in (nic for part in asked["parts"] for nic in part["nics"]):
        for key in _LEASED_SINCE & nic.keys():
            del nic[key]  # nor are these
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a request")

"""Which of its three forms the demo takes on this machine, and why."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum

_QEMU = ("qemu-system-x86_64", "qemu-img", "mke2fs")
_ROOT = ("ip", "unshare", "mount", "dnsmasq", "sudo", "visudo")
_SBIN = "/usr/sbin:/sbin"


class Form(StrEnum):
    """How much of a site can be real here."""

    NAMESPACES = "namespaces"  # root: nodes are network namespaces with bridges; guests reach each other
    USER = "user"  # real QEMU, user-mode networks
    SIMULATED = "simulated"  # no QEMU to be had


@dataclass(frozen=True, slots=True)
class Choice:
    """The form and the sentence that explains it."""

    form: Form
    why: str


def search_path() -> str:
    """Return PATH with the system directories that a plain user's PATH lacks."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":" + _SBIN


def missing(programs: tuple[str, ...]) -> list[str]:
    """Return those programs that are not installed."""
    return [name for name in programs if shutil.which(name, path=search_path()) is None]


def choose(*, root: bool, namespaces: bool) -> Choice:
    """Pick the most real form that this machine allows; ``namespaces``: root may make some."""
    if lacking := missing(_QEMU):
        return Choice(Form.SIMULATED, f"{', '.join(lacking)} not installed: the simulated hypervisor stands in")
    if not root:
        why = "not root: user-mode networks; each guest has its leased address, but guests cannot reach each other"
        return Choice(Form.USER, why)
    if lacking := missing(_ROOT):
        why = f"{', '.join(lacking)} not installed: user-mode networks, where guests cannot reach each other"
        return Choice(Form.USER, why)
    if not namespaces:
        why = "root without the right to make namespaces: user-mode networks, where guests cannot reach each other"
        return Choice(Form.USER, why)
    return Choice(Form.NAMESPACES, "root: two nodes in network namespaces of the demo's own")

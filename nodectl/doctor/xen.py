"""Look whether this node can run VMs as Xen's domains: its command, what guests say, and what makes their disks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.doctor import versions
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor.xl import Xl

FIGURES = re.compile(r"^(xen_version|free_memory) *: *(\S+)$", re.MULTILINE)
LOGGING = {"--log=guest", "--log=all"}


def checks(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is to be looked at, by name; each raises a FlyingLowError or OSError, or says what it found."""
    yield "xl", lambda: _xl(config)
    yield "consoles", lambda: _consoles(config)
    yield "mke2fs", lambda: _mke2fs(config)
    if config.memory != "xen":
        yield "memory of domain 0", _nobody_balloons


def _xl(config: Config) -> str:
    versions.present(config.xl, "xen-utils-4.17, and boot Xen")
    found = dict(FIGURES.findall(tools.run([config.xl, "info"])))
    count = len(Xl(config.xl).domains()) - 1
    return f"Xen {found.get('xen_version')}, {count} guests, {found.get('free_memory')} MiB free"


def _consoles(config: Config) -> str:
    """Look for what writes consoles down: a guest is ready when its console says so, and Debian's default is none."""
    programs = [processes.arguments(int(entry.name)) for entry in processes.PROC.iterdir() if entry.name.isdigit()]
    running = [words for words in programs if words and Path(words[0]).name == "xenconsoled"]
    if not running:
        raise BrokenError("xenconsoled does not run: no guest's console is read (Debian: service xen start)")
    if not any(LOGGING & set(words) for words in running):
        raise BrokenError("xenconsoled writes no consoles: start it with --log=guest (XENCONSOLED_TRACE=guest)")
    if not os.access(config.xen_consoles, os.W_OK):
        raise BrokenError(f"there is no directory {config.xen_consoles}: set the configuration key xen_consoles")
    return config.xen_consoles


def _mke2fs(config: Config) -> str:
    return versions.present(config.mke2fs, "e2fsprogs")


def _nobody_balloons() -> str:
    return "left alone: guests get what Xen has free (configuration key memory = xen lets slots take it)"

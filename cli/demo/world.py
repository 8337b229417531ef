"""The private world of a root demo: its own mount, network and process namespaces, which vanish with it.

Nothing of the machine is changed: no bridge, address, firewall rule or file outside the demo's own directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Sequence

INSIDE = "--inside"

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which a person or a terminal ends the demo."""

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_UNSHARE = [
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private"),
]


def run(*argv: str) -> str:
    """Run a program and return what it printed. Raises BrokenError with what it said when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()}"
        raise BrokenError(message)
    return done.stdout


def can_enter() -> bool:
    """Say whether this process may make namespaces: root in a container often may not."""
    if shutil.which(_UNSHARE[0]) is None:
        return False
    return subprocess.run([*_UNSHARE, "--", "true"], capture_output=True, check=False).returncode == 0


def enter(arguments: Sequence[str]) -> int:
    """Run the same demo inside new namespaces and return its exit code; signals to this process reach that one.

    All that runs inside ends with it, whatever happens.
    """
    inner = [sys.executable, "-m", "flyinglow.cli", "demo", INSIDE, *arguments]
    demo = subprocess.Popen([*_UNSHARE, "--", *inner], process_group=0)

    def forward(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGTERM if number == signal.SIGHUP else number)

    for number in ENDING:
        signal.signal(number, forward)
    return demo.wait()


def furnish() -> None:
    """Give the new namespaces what programs expect: a loopback, and a /run that shows nothing of the machine's."""
    _loopback_up()
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for name in ("netns", "sudo", "lock"):
        (Path("/run") / name).mkdir(mode=0o755)


def _loopback_up() -> None:
    # by ioctl (netdevice(7)), for the simulated form must not need iproute2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))

"""Runs ``flyinglow serve`` for the demo and ends it again."""

from __future__ import annotations

import http
import http.client
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flyinglow.cli.demo.site import Site

_START = 90.0
_STOP = 10.0


@contextmanager
def serving(site: Site) -> Iterator[None]:
    """Keep the service running for the time of the block. Raises BrokenError with its log when it does not come up."""
    log = site.root / "serve.log"
    argv = [sys.executable, "-m", "flyinglow.cli", "serve", "--config", str(site.config)]
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out, cwd="/") as daemon:
        try:
            _await_answer(site, daemon, log)
            yield
        finally:
            _end(daemon)


def _await_answer(site: Site, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            message = f"the service ended with {daemon.returncode}: {_tail(log)}"
            raise BrokenError(message)
        if _answers(site):
            return
        time.sleep(0.05)
    message = f"the service did not answer on {site.url} within {_START:.0f} s: {_tail(log)}"
    raise BrokenError(message)


def _answers(site: Site) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=2)
    try:
        connection.request("GET", "/factory?wsdl")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-1500:] or "(it logged nothing)"


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(_STOP)
    except subprocess.TimeoutExpired:
        daemon.kill()

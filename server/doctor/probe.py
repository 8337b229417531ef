"""What ``flyinglow doctor --job`` sends to a node in place of a pilot: it tries what a pilot needs, and says so.

It is started as pilots are, reads one line of settings, and posts what it finds. Then it waits to be cancelled, and
says several times a second that it lives and since when it knows; so the doctor sees when it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

_BEAT = 0.1  # seconds between two signs of life
_SECONDS = 15.0  # for sudo, and for one request
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Probe:
    """One run on one node."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        context = ssl.create_default_context(cadata=settings["certificate"] or None)
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self.http = urllib.request.build_opener(*handlers)
        self.heard: tuple[str, float] | None = None

    def run(self) -> None:
        """Look at everything, then wait for the end, at most ``patience`` seconds."""
        for number in _SIGNALS:
            signal.signal(number, self.notice)
        self.say(
            {"what": "started", "python": sys.version.split()[0], "executable": sys.executable, "node": node_name()}
        )
        self.say({"what": "agent", **self.agent()})
        if self.settings["service"]:
            self.say({"what": "service", **self.service()})
        self.leave_nothing()
        last = time.monotonic() + self.settings["patience"]
        while time.monotonic() < last:
            since = None if self.heard is None else time.monotonic() - self.heard[1]
            self.say({"what": "alive", "signal": self.heard[0] if self.heard else None, "since": since})
            time.sleep(_BEAT)
        self.say({"what": "patience"})

    def notice(self, number: int, _frame: Any) -> None:
        """Remember the first signal only: some schedulers send many."""
        if self.heard is None:
            self.heard = (signal.Signals(number).name, time.monotonic())

    def say(self, what: dict[str, Any]) -> None:
        """Post one finding; what is not taken is not repeated, the next one comes soon."""
        request = urllib.request.Request(self.settings["url"], json.dumps(what).encode(), method="POST")  # noqa: S310
        try:
            with self.http.open(request, timeout=_SECONDS):
                pass
        except (OSError, ssl.SSLError) as error:
            sys.stderr.write("the doctor does not answer: %s\n" % error)  # noqa: UP031 - for any Python 3

    def agent(self) -> dict[str, Any]:
        """Start the agent through sudo, as pilots do; it says hello and ends with its empty input."""
        try:
            done = subprocess.run(
                self.settings["agent"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"version": None, "said": str(error)}
        try:
            return {"version": json.loads(done.stdout.splitlines()[0])["body"]["version"], "said": ""}
        except (IndexError, KeyError, TypeError, ValueError):
            return {"version": None, "said": (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-300:]}

    def service(self) -> dict[str, Any]:
        """Ask the service for anything: whatever it answers, it was reached."""
        try:
            with self.http.open(self.settings["service"], timeout=_SECONDS):
                pass
        except urllib.error.HTTPError:
            return {"reached": True, "said": ""}
        except (OSError, ssl.SSLError) as error:
            return {"reached": False, "said": str(error)}
        return {"reached": True, "said": ""}

    def leave_nothing(self) -> None:
        """Remove the job's log, which had nothing to say."""
        try:
            os.unlink(self.settings["log"])  # noqa: PTH108 - a program this small starts without pathlib
        except OSError as error:
            sys.stderr.write("the log stays: %s\n" % error)  # noqa: UP031 - as above


def node_name() -> str:
    """Return the node's name, as the scheduler's script gave it."""
    return sys.argv[sys.argv.index("--node") + 1] if "--node" in sys.argv[:-1] else os.uname().nodename


if __name__ == "__main__":
    Probe(json.loads(sys.stdin.readline())).run()

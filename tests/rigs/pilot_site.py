"""Real pilots from the bundle, under every interpreter that is here, against a scripted service and agent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyinglow.pilot.bundle import bundle
from flyinglow.pilot.messages import Settings, settings_line
from rigs import pilot_agent
from rigs.pilot_service import JOB_KEY, PilotService

AGENT = Path(pilot_agent.__file__)
OLD = Path.home() / ".pyenv/versions/3.9.18/bin/python3.9"


def interpreters() -> list[str]:
    """Return the system's own Python and the oldest that the pilot promises, where they are."""
    old = OLD if OLD.exists() else Path(shutil.which("python3.9") or "/none")
    found = [path for path in ("/usr/bin/python3", str(old)) if Path(path).exists()]
    return found or [sys.executable]


class PilotProcess:
    """One pilot as a job would have it."""

    def __init__(self, argv: list[str], settings: Settings) -> None:
        self.settings = settings
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdin
        self.process.stdin.write(settings_line(settings))
        self.process.stdin.close()
        self._out: list[bytes] = []
        self._reader = threading.Thread(target=lambda: self._out.extend(self.process.stdout or ()), daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        return b"".join(self._out).decode()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def exit(self, seconds: float = 120.0) -> int:
        code = self.process.wait(seconds)
        self._reader.join(20.0)
        return code


class Site:
    """A service, a folder as the node, and how a pilot is started there."""

    def __init__(self, folder: Path, python: str) -> None:
        self.service = PilotService()
        self.node = folder / "node"
        self.node.mkdir()
        self.python = python
        self.file = folder / "pilot.pyz"
        self.file.write_bytes(bundle())
        self.pilots: list[PilotProcess] = []
        agent = (python, "-IS", str(AGENT), str(self.node), "agent", "--stdio")
        slots = ({"memory_mb": 1024, "cpus": 1},)
        self.settings = Settings("t1", JOB_KEY, "", 600.0, 12.0, 0.5, slots, agent=agent, patience=2.0)

    def misbehave(self, *words: str) -> None:
        (self.node / "misbehave").write_text(" ".join(words))

    def start(self, *options: str, **changes: Any) -> PilotProcess:
        url = self.service.url if self.service.port else "http://localhost:9/"
        argv = [self.python, "-IS", str(self.file), "--rank", "0", "--node", "n1", *options]
        pilot = PilotProcess(argv, replace(self.settings, **{"url": url, **changes}))
        self.pilots.append(pilot)
        return pilot

    @property
    def memory(self) -> int:
        """What the node itself has, MB."""
        file = self.node / "memory"
        return int(file.read_text()) if file.exists() else pilot_agent.BASE

    @property
    def vms(self) -> list[str]:
        return sorted(vm.name for vm in (self.node / "vms").iterdir())

    @property
    def agent_log(self) -> list[str]:
        return [line.split(" ", 1)[1] for line in (self.node / "log").read_text().splitlines()]

    def end(self) -> None:
        """Leave no process behind; an agent ends with its pilot, unless it was told to misbehave."""
        for pilot in self.pilots:
            pilot.process.kill()
            pilot.process.wait()
        for file in self.node.rglob("pid"):
            words = Path(f"/proc/{file.read_text()}/cmdline")
            if words.exists() and str(self.node).encode() in words.read_bytes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), signal.SIGKILL)
        for pilot in self.pilots:
            pilot._reader.join(20.0)
            assert pilot.process.stdout
            pilot.process.stdout.close()
            sys.stderr.write(pilot.log)  # shown when the test fails

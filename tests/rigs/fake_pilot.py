"""A stand-in for the pilot: writes down, as JSON lines in one directory, where it runs, what it is told, what it hears.

It reads its settings from standard input: ``{"directory": ..., "stay": ..., "grace": ..., "key": ...}``.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

options = dict([sys.argv[1:3], sys.argv[3:5]])
settings = json.loads(sys.stdin.readline())
path = Path(settings["directory"], f"pilot.{options['--rank']}.{os.getpid()}.jsonl")
stops: list[float] = []


def note(**facts: object) -> None:
    """Append one line, whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (json.dumps(facts) + "\n").encode())
    os.close(descriptor)


def heard(number: int, _frame: object) -> None:
    """Write a signal down, and end after the grace that the settings allow."""
    note(what="signal", number=number, at=time.time())
    stops.append(time.monotonic() + settings.get("grace", 0.2))


for number in (signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, heard)
note(
    what="start",
    rank=int(options["--rank"]),
    node=options["--node"],
    host=os.uname().nodename,
    user=os.getuid(),
    key=settings["key"],
    pid=os.getpid(),
    cpus=len(os.sched_getaffinity(0)),
    environment=dict(os.environ),
    argv=Path("/proc/self/cmdline").read_text().split("\0"),
    at=time.time(),
)
end = time.monotonic() + settings.get("stay", 60)
while time.monotonic() < min([end, *stops[:1]]):
    time.sleep(0.02)
note(what="end", at=time.time())

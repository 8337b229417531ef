"""Find processes again after their parent is gone: by number, start time and boot.

A process number alone is no proof, for numbers are used again; a process that is dead but not yet collected counts as
dead, for on some nodes nobody collects quickly.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flyinglow.nodectl.vmdir import ProcessMark

PROC = Path("/proc")
DEAD = ("Z", "X", "x")
MOMENT = 0.01  # seconds between two looks at a process


def boot_id() -> str:
    """Return what changes whenever the node starts anew."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def mark(pid: int) -> ProcessMark | None:
    """Return the mark of a living process, or None when it is dead or was never there."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    return None if fields[0] in DEAD else ProcessMark(pid, int(fields[19]), boot_id())


def alive(known: ProcessMark | None) -> bool:
    """Tell whether exactly this process still lives."""
    return known is not None and mark(known.pid) == known


def arguments(pid: int) -> list[str]:
    """Return a process's argument list; empty when it is gone or a zombie."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def with_argument(*words: str) -> Iterator[ProcessMark]:
    """Yield the living processes that have one of ``words`` among their arguments."""
    sought = [b"\0" + os.fsencode(word) + b"\0" for word in words]
    for name in os.listdir(PROC):  # noqa: PTH208 - a VM's start and end wait for this: names are enough
        if name.isdigit() and _has(f"{PROC}/{name}/cmdline", sought):
            found = mark(int(name))
            if found is not None:
                yield found


def all_marks(wanted: Callable[[list[str]], bool]) -> list[ProcessMark]:
    """Return the living processes whose argument lists are wanted."""
    numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    found = [mark(number) for number in numbers if wanted(arguments(number))]
    return [each for each in found if each is not None]


def _has(file: str, sought: list[bytes]) -> bool:
    try:
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - as above
            raw = b"\0" + stream.read()
    except OSError:
        return False
    return any(word in raw for word in sought)


def end(known: ProcessMark, number: int = signal.SIGKILL, seconds: float = 10.0) -> bool:
    """Send a signal to exactly this process and wait until it is dead; tell whether it is."""
    if alive(known):
        with contextlib.suppress(ProcessLookupError):
            os.kill(known.pid, number)
    return gone(known, seconds)


def end_all(marks: list[ProcessMark], seconds: float = 10.0) -> None:
    """Kill exactly these processes, all at once, and wait until they are dead, or no longer."""
    for known in marks:
        if alive(known):
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    for known in marks:
        gone(known, max(0.0, deadline - time.monotonic()))


def gone(known: ProcessMark, seconds: float) -> bool:
    """Wait until a process is dead; tell whether it is."""
    deadline = time.monotonic() + seconds
    with _ending(known.pid) as wait:
        while alive(known):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            wait(left)
    return True


@contextlib.contextmanager
def _ending(pid: int) -> Iterator[Callable[[float], object]]:
    """Yield what waits for a process to end, at most so many seconds; where the kernel cannot tell, for a moment."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield lambda left: time.sleep(min(left, MOMENT))
        return
    try:
        told = select.poll()
        told.register(handle, select.POLLIN)
        yield lambda left: told.poll(left * 1000)
    finally:
        os.close(handle)

"""The pilot's log, which is its job's output: one line an event, in milliseconds, and no key ever."""

from __future__ import annotations

import contextlib
import json
import os
import time

from flyinglow.pilot.clock import Clock

_LONGEST = 2000  # characters of a line


class Log:
    """Writes each event whole, from any thread; a log that nobody reads any more harms nothing."""

    def __init__(self, descriptor: int, clock: Clock, who: str) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._who = who

    def say(self, event: str, **facts: object) -> None:
        """Write one event with what is to be known of it."""
        stamp = self._clock.stamp_ms
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp // 1000))
        words = [f"{moment}.{stamp % 1000:03d}Z", self._who, event]
        words += [f"{name}={_shown(value)}" for name, value in facts.items()]
        line = " ".join(words)[:_LONGEST]
        with contextlib.suppress(OSError):  # the LRM closed the job's output: the slot matters more
            os.write(self._descriptor, line.encode(errors="replace") + b"\n")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() and " " not in text and text else json.dumps(text)

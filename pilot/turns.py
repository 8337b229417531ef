"""A thing that is done again and again by a thread of its own, with a pause that ``wake`` cuts short."""

from __future__ import annotations

import threading
from typing import Protocol

from flyinglow.pilot.log import Log

SHORTEST = 0.2  # seconds before something that failed is tried again
LONGEST = 5.0  # the same, after many failures
HURRIED = 1.0  # the same, when time is short


class Turn(Protocol):
    """What a thread does."""

    def once(self) -> float | None:
        """Do what there is to do; return the seconds until the next turn, None: not before it is woken."""


class Worker:
    """One thread for one ``Turn``; it ends with the program, and not before: a fault of a turn is logged."""

    def __init__(self, name: str, turn: Turn, log: Log) -> None:
        self._name = name
        self._turn = turn
        self._log = log
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Cut a pause short."""
        self._woken.set()

    def _run(self) -> None:
        pause: float | None = 0.0
        while True:
            if pause != 0.0:
                self._woken.wait(pause)
            self._woken.clear()
            pause = self._guarded()

    def _guarded(self) -> float | None:
        try:
            return self._turn.once()
        except Exception as error:  # noqa: BLE001 - a pilot that hears nothing any more would be worse
            self._log.say("fault", thread=self._name, error=f"{type(error).__name__}: {error}")
            return LONGEST


class BackOff:
    """How long to wait after so many failures in a row."""

    def __init__(self) -> None:
        self._next = SHORTEST
        self.hurried = False

    def failed(self) -> float:
        """Return the pause after one more failure."""
        pause, self._next = self._next, min(LONGEST, self._next * 2)
        return min(pause, HURRIED) if self.hurried else pause

    def worked(self) -> None:
        """Begin anew."""
        self._next = SHORTEST

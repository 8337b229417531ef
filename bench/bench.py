"""What every measurement is handed: where it may write, how long it may take, and how to say what it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """``seconds`` is the length of one run under load, ``rounds`` how often it is repeated, in turns with its pair.

    ``directory`` is gone after the run; ``out`` keeps what is written there.
    """

    directory: Path
    out: Path
    seconds: float
    rounds: int
    quick: bool

    def say(self, text: str) -> None:
        """Tell the user what is being done."""
        print(f"  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def service(self, name: str, **options: object) -> Iterator[Service]:
        """Give a running service in a directory of its own; it is stopped in the end."""
        made = Service(self.directory / name, **options)  # type: ignore[arg-type]
        try:
            made.start()
            yield made
        finally:
            made.stop()


def until(done: Callable[[], bool], seconds: float, what: str, pause: float = 0.01) -> None:
    """Wait until something is so. Raises TimeoutError saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)

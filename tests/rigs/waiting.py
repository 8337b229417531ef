"""Wait for something to become true, with an end."""

import time
from collections.abc import Callable
from typing import Any

import pytest

LEAST = 180.0
"""Seconds: what is a moment here may be minutes on a slow machine with other work, and waiting costs nothing."""


def eventually(question: Callable[[], Any], seconds: float = LEAST) -> Any:
    """Ask until the answer is true, and return it; fail in the end, which is never sooner than ``LEAST``."""
    seconds = max(seconds, LEAST)
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            pytest.fail(f"not true after {seconds:g} s; last answer: {answer!r}")
        time.sleep(0.05)
    return answer

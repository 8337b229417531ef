"""Wait for something to become true, with an end."""

import time
from collections.abc import Callable
from typing import Any

import pytest


def eventually(question: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Ask until the answer is true, and return it; fail in the end."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            pytest.fail(f"not true after {seconds:g} s; last answer: {answer!r}")
        time.sleep(0.05)
    return answer

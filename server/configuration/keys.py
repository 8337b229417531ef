"""How a key of the configuration is declared: a dataclass field with its documentation beside it."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def doc(text: str, **kwargs: Any) -> Any:
    """Declare a key with its documentation."""
    return field(metadata={"doc": text}, **kwargs)

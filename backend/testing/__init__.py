"""The conformance suite for back-ends, shipped for those who write their own; needs pytest.

Subclass ``BackendConformance`` in a test module of yours; see ``docs/developers/backend.md``.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"flyinglow.backend.testing.{module}" for module in ("deciding", "granting", "ordering"))
)  # before they are imported, so that a failed assertion shows its values

# ruff: noqa: E402 - hence the place of these
from flyinglow.backend.testing.bench import Bench
from flyinglow.backend.testing.conformance import BackendConformance
from flyinglow.backend.testing.loop import ReactorThread

__all__ = ["BackendConformance", "Bench", "ReactorThread"]

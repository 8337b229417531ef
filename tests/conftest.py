"""What every test may ask for; the fixtures of one part lie in that part's own conftest."""

import pytest

pytest_plugins = ["rigs.daemon", "rigs.postgres"]


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis take its time: the machine is shared with the tests that run beside it."""
    del config
    from hypothesis import settings

    settings.register_profile("shared", deadline=None)
    settings.load_profile("shared")

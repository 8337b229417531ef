"""What every test may ask for; the fixtures of one part lie in that part's own conftest."""

import pytest

pytest_plugins = ["rigs.daemon", "rigs.postgres"]


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis take its time, and the same examples each run: what is new is looked for by ``make fuzz``."""
    del config
    from hypothesis import settings

    settings.register_profile("shared", deadline=None, derandomize=True)
    settings.load_profile("shared")

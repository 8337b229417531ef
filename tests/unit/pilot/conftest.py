"""Time that only moves when it is told to."""

import pytest

from flyinglow.pilot.messages import Settings
from rigs.pilot_time import FakeBell, FakeTime


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def bell(time: FakeTime) -> FakeBell:
    return FakeBell(time)


@pytest.fixture
def settings() -> Settings:
    slots = ({"memory_mb": 1024, "cpus": 1}, {"memory_mb": 2048, "cpus": 2})
    return Settings("t1", "11" * 32, "http://service:8/", 600.0, 30.0, 0.5, slots, agent=("true",))

"""One world of notification, or several over one store file: a restart."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from rigs.notification import World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_world(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], World]]:
    made: list[World] = []

    def make() -> World:
        made.append(World(tmp_path / "store.db", clock))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()

"""Whole services for the end-to-end tests: one for each module where its tests do not disturb each other."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flyinglow.client import Consumer, Site, connect
from flyinglow.client.notification import Notification
from flyinglow.client.watch import Watch
from rigs import waiting
from rigs.daemon import Daemon, daemon, daemon_factory
from rigs.guest import guest_image
from rigs.machines import machines

__all__ = ["consumer", "daemon", "daemon_factory", "eventually", "guest_image", "machines", "news_of", "shared", "site"]

Eventually = Callable[..., Any]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """Give the module's running service; the module may name its options in OPTIONS."""
    made = Daemon(tmp_path_factory.mktemp("fl"), options=getattr(request.module, "OPTIONS", {}))
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.clean_up()


@pytest.fixture
def site(shared: Daemon) -> Site:
    """Give a client of the module's service."""
    return connect(shared.url)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """Give a consumer that closes with the test."""
    with Consumer() as made:
        yield made


@pytest.fixture
def eventually() -> Eventually:
    """Give a function that asks again and again until the answer is true, and returns it; it fails in the end."""
    return waiting.eventually


@pytest.fixture
def news_of() -> Callable[[Watch], list[Notification]]:
    """Give a function that returns all that a watch is told until its resource is over; it fails when that lasts."""

    def gather(watch: Watch, seconds: float = 180.0) -> list[Notification]:
        deadline = time.monotonic() + seconds
        found: list[Notification] = []
        try:
            while (news := watch.queue.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
                found.append(news)
        except queue.Empty:
            pytest.fail(f"not over after {seconds:g} s; the last news: {found[-3:]}")
        return found

    return gather

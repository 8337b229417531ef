"""Every database in turn, and notification with pull points over it."""

from collections.abc import Iterator

import pytest

from flyinglow.store import Store
from rigs.pull_site import PullSite
from rigs.store import any_store, open_store, sqlite_store, store_url

__all__ = ["any_store", "open_store", "pull_site", "sqlite_store", "store_url"]


@pytest.fixture
def pull_site(any_store: Store) -> Iterator[PullSite]:
    made = PullSite(any_store).fill()
    yield made
    made.stop()

"""An endpoint over a shelf; every message that a test sees is checked against the schemas."""

import pytest

from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Endpoint
from rigs.soap import Seen, Shelf, endpoint


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def seen() -> Seen:
    return Seen(Contract.packaged())


@pytest.fixture
def workspace(shelf: Shelf, seen: Seen) -> Endpoint:
    return endpoint(shelf, on_message=seen)

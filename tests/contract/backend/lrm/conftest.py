"""Each scheduler in turn, started once for all the tests over it."""

from collections.abc import Iterator

import pytest

from flyinglow.backend.testing import ReactorThread
from rigs.lrm_benches import BENCHES, LrmBench


@pytest.fixture(scope="module", params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest) -> Iterator[LrmBench]:
    """A scheduler; skipped with a reason where it cannot run."""
    with BENCHES[request.param](ReactorThread.get().run) as made:
        yield made

"""Real pilots from the bundle, under every interpreter that is here, against a scripted service and agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.pilot_site import Site, interpreters
from rigs.sshd import ssh_node

__all__ = ["ssh_node"]


@pytest.fixture
def bare_site(tmp_path: Path) -> Iterator[Site]:
    """A site whose service is not up."""
    site = Site(tmp_path, interpreters()[0])
    yield site
    site.end()
    site.service.down()


@pytest.fixture
def site(bare_site: Site) -> Site:
    bare_site.service.up()
    return bare_site


@pytest.fixture(params=interpreters(), ids=lambda path: Path(path).name)
def each_python(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site for each interpreter."""
    site = Site(tmp_path, request.param)
    site.service.up()
    yield site
    site.end()
    site.service.down()

"""The contract as files, and the originals of the standards' schemas to compare it with."""

import importlib.util
from pathlib import Path

import pytest

from flyinglow.wsrf.contract import Contract
from rigs.contract_site import Site

ORIGINAL_NAMES = ("b-2.xsd", "bf-2.xsd", "r-2.xsd", "t-1.xsd", "ws-addr.xsd", "xml.xsd")


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.packaged()


@pytest.fixture(scope="session")
def originals() -> Path:
    """The folder of the standards' own files, which a public ONVIF client ships."""
    spec = importlib.util.find_spec("onvif")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "wsdl"


@pytest.fixture(scope="session")
def original_contract(contract: Contract, originals: Path) -> Contract:
    """Our own schemas on top of the standards' originals in place of ours."""
    theirs = {name: (originals / name).read_bytes() for name in ORIGINAL_NAMES}
    assert theirs.keys() <= contract.schemas.keys()
    return Contract({**contract.schemas, **theirs}, {})


@pytest.fixture
def site() -> Site:
    return Site()

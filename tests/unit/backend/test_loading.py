"""Back-ends are found by name, those of others too."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from flyinglow.backend import default, loading, simulated
from flyinglow.nodectl.errors import BrokenError, InvalidError


def test_ours_are_installed() -> None:
    assert {"default", "simulated"} <= set(loading.names())
    assert loading.load("default") is default.create
    assert loading.load("simulated") is simulated.create


def test_an_unknown_one_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidError, match=r"'libvirt'.*default.*simulated"):
        loading.load("libvirt")


@pytest.mark.parametrize(
    "value", ["no.such.module:create", "flyinglow.backend.default:no_such", "flyinglow.nodectl.messages:VERSION"]
)
def test_one_that_cannot_be_loaded_is_broken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint("theirs", value, loading.GROUP)
    monkeypatch.setattr(loading, "entry_points", lambda group: EntryPoints([entry]))
    with pytest.raises(BrokenError, match="theirs"):
        loading.load("theirs")

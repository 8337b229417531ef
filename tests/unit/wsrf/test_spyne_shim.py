"""Spyne must import and work on every Python that is supported."""

import gc
import logging
import subprocess
import sys

from lxml import etree

from flyinglow.wsrf import spyne_shim
from rigs.soap import Shelf, body_of, endpoint, state_of


def test_a_call_goes_through_spyne_on_this_python() -> None:
    answer = endpoint(Shelf()).call(state_of())
    assert body_of(answer)[0].text == "Running"


def test_it_is_the_shim_that_makes_spyne_importable() -> None:
    lines = "import warnings; warnings.simplefilter('ignore'); import {} as module; print(module.__name__)"
    bare = subprocess.run([sys.executable, "-c", lines.format("spyne")], capture_output=True, text=True, check=False)
    assert (bare.returncode == 0) == (sys.version_info < (3, 12)), bare.stderr
    assert spyne_shim.ServiceBase.__module__.startswith("spyne")


def test_closing_a_call_never_collects_garbage() -> None:
    runs = []
    gc.callbacks.append(lambda phase, info: runs.append(info["generation"]))
    try:
        point = endpoint(Shelf())
        gc.disable()
        for _ in range(3):
            point.call(state_of())
    finally:
        gc.enable()
        gc.callbacks.pop()
    assert 2 not in runs


def test_spyne_says_nothing_of_its_own(caplog: object) -> None:
    assert not logging.getLogger("spyne.application.server").isEnabledFor(logging.CRITICAL)
    assert not logging.getLogger("spyne.protocol.xml").isEnabledFor(logging.ERROR)


def test_elements_are_those_of_lxml() -> None:
    assert etree.iselement(body_of(endpoint(Shelf()).call(state_of())))

"""What wakes the main thread, and what the log says."""

import os
import signal
import time as clock
from collections.abc import Iterator

import pytest

from flyinglow.pilot.bell import Bell
from flyinglow.pilot.log import Log
from flyinglow.pilot.signals import NOTICES, catch, name_of
from rigs.pilot_time import FakeTime


@pytest.fixture
def caught() -> Iterator[Bell]:
    """A bell that signals ring; the process is left as it was."""
    bell = Bell()
    before = {number: signal.getsignal(number) for number in NOTICES}
    wakeup = signal.set_wakeup_fd(-1)
    catch(bell.descriptor)
    yield bell
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_every_notice_is_handed_on_with_its_number_oldest_first(caught: Bell) -> None:
    for number in NOTICES:
        os.kill(os.getpid(), number)
    assert caught.wait(120.0) == list(NOTICES)


def test_a_ring_ends_the_wait_and_is_no_signal() -> None:
    bell = Bell()
    bell.ring()
    began = clock.monotonic()
    assert bell.wait(200.0) == []
    assert clock.monotonic() - began < 100
    assert bell.wait(0.0) == []


def test_rings_without_number_block_nobody() -> None:
    bell = Bell()
    for _ in range(100_000):
        bell.ring()
    bell.wait(1.0)


def test_names_of_signals() -> None:
    assert name_of(signal.SIGUSR2) == "SIGUSR2"
    assert name_of(999) == "signal 999"


def test_an_event_is_one_line_with_milliseconds(time: FakeTime) -> None:
    read, write = os.pipe()
    time.now = 0.0425
    Log(write, time.clock, "t1.0@n1").say("given-back", seconds=1.25, text="two words\nand more", empty="")
    assert os.read(read, 4096) == (
        b'2023-11-14T22:13:20.042Z t1.0@n1 given-back seconds=1.250 text="two words\\nand more" empty=""\n'
    )
    os.close(read)
    Log(write, time.clock, "t").say("nobody reads")  # harms nothing
    os.close(write)

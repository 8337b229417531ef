"""The LRM's notice (section 3.2 of the paper): any signal, any number of times, in any phase, with any service."""

import signal
import time
from typing import Any

import pytest

from rigs.pilot_agent import BASE
from rigs.pilot_site import Site
from rigs.waiting import eventually

LONG = 100.0  # seconds for which a service hangs; a pilot that waited for it would be late by far
ALIKE = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP]


@pytest.mark.parametrize("number", ALIKE, ids=lambda number: number.name)
def test_every_signal_means_the_same(site: Site, number: Any) -> None:
    pilot = site.start(grace=30.0, share=0.01)
    site.service.report("t1.0", "ready")
    pilot.signal(number)
    assert site.service.report("t1.0", "signalled").body["signal"] == number.name
    assert site.service.report("t1.0", "released").body["reason"] == f"signal {number.name}"
    assert pilot.exit() == 0, pilot.log
    assert site.memory == BASE


def test_a_burst_and_a_second_notice_count_as_one(site: Site) -> None:
    pilot = site.start(grace=20.0, share=0.1)
    site.service.report("t1.0", "ready")
    began = time.monotonic()
    for _ in range(20):
        pilot.signal(signal.SIGTERM)
        time.sleep(0.002)
    site.service.report("t1.0", "signalled")
    pilot.signal(signal.SIGUSR2)
    site.service.wait(lambda: site.service.stored("t1.0", "releasing"))
    pilot.signal(signal.SIGTERM)
    assert pilot.exit() == 0, pilot.log
    assert 1.9 <= time.monotonic() - began < 19
    assert site.service.kinds("t1.0") == ["hello", "ready", "signalled", "releasing", "released"]
    assert site.memory == BASE


def test_orders_are_served_in_the_services_share_and_its_word_ends_it(site: Site) -> None:
    service = site.service
    pilot = site.start(grace=120.0, share=0.5)
    service.report("t1.0", "ready")
    service.answer_to("t1.0", service.order("t1.0", "create", "vm1"))
    pilot.signal()
    service.report("t1.0", "signalled")
    began = time.monotonic()
    assert service.answer_to("t1.0", service.order("t1.0", "destroy", "vm1"))["ok"] is True
    service.stand("t1.0", end=True)
    released = service.report("t1.0", "released")
    assert time.monotonic() - began < 60  # the service's share
    assert released.body["destroyed"] == []
    assert pilot.exit() == 0, pilot.log


def test_a_signal_while_memory_is_being_reserved_gives_it_back(site: Site) -> None:
    site.misbehave("slow-reserve")
    pilot = site.start()
    eventually(lambda: (site.node / "log").exists() and "reserve" in site.agent_log)
    pilot.signal()
    site.service.report("t1.0", "signalled")
    (site.node / "go").touch()
    assert pilot.exit() == 0, pilot.log
    assert site.service.kinds("t1.0") == ["hello", "signalled", "released"]
    assert site.agent_log[1:3] == ["reserve", "release"]
    assert site.memory == BASE


def test_a_signal_before_the_agent_is_there_ends_it_at_once(site: Site) -> None:
    pilot = site.start(agent=("/bin/cat",))
    site.service.report("t1.0", "hello")
    pilot.signal()
    assert pilot.exit() == 0, pilot.log
    assert site.service.kinds("t1.0") == ["hello", "signalled", "released"]


def test_a_signal_while_giving_back_bounds_it_by_the_grace(site: Site) -> None:
    site.misbehave("deaf-release")
    pilot = site.start(grace=3.0)
    site.service.report("t1.0", "ready")
    site.service.stand("t1.0", end=True)
    site.service.report("t1.0", "releasing")
    pilot.signal()
    assert pilot.process.wait(120) == 5  # the agent itself would take an hour
    failed = site.service.report("t1.0", "failed")
    assert failed.body["step"] == "undo reserve"
    assert not site.service.stored("t1.0", "released")


def test_a_service_that_is_away_does_not_eat_the_grace(site: Site) -> None:
    pilot = site.start(grace=5.0, share=0.5, patience=LONG)
    site.service.report("t1.0", "ready")
    site.service.answer_to("t1.0", site.service.order("t1.0", "create", "vm1"))
    site.service.down()
    began = time.monotonic()
    pilot.signal()
    assert pilot.exit() == 0, pilot.log
    assert 2.0 < time.monotonic() - began < LONG / 2
    assert (site.memory, site.vms) == (BASE, [])


def test_a_service_that_hangs_does_not_eat_the_grace(site: Site) -> None:
    from rigs.pilot_service import slow

    site.service.faults.extend([slow(0), slow(0), slow(LONG), slow(LONG), slow(LONG)])
    pilot = site.start(grace=5.0, share=0.5, patience=LONG)
    site.service.report("t1.0", "ready")
    began = time.monotonic()
    pilot.signal()
    assert pilot.exit() == 0, pilot.log
    assert time.monotonic() - began < LONG / 2
    assert site.memory == BASE


def test_another_pilots_notice_is_taken_as_ones_own(site: Site) -> None:
    pilot = site.start(grace=80.0, share=0.5)
    site.service.report("t1.0", "ready")
    site.service.answer_to("t1.0", site.service.order("t1.0", "create", "vm1"))
    began = time.monotonic()
    site.service.stand("t1.0", warned=41.0)  # 39 of the 80 seconds are over
    assert site.service.answer_to("t1.0", site.service.order("t1.0", "list", None))["ok"] is True
    pilot.signal()  # its own notice comes later, and gains it nothing
    site.service.report("t1.0", "signalled")
    assert pilot.exit() == 0, pilot.log
    assert 0.9 <= time.monotonic() - began < 35
    assert site.service.report("t1.0", "released").body == {
        **site.service.report("t1.0", "released").body,
        "reason": "warned",
        "destroyed": ["vm1"],
    }


def test_pilots_of_one_node_end_each_for_itself(site: Site) -> None:
    slots = ({"memory_mb": 1024, "cpus": 1},)
    first = site.start(grace=30.0, share=0.01)
    site.service.report("t1.0", "ready")
    second = site.start(job="t2", slots=slots, agent=(*site.settings.agent[:3], str(site.node / "b"), "agent"))
    site.service.report("t2.0", "ready")
    first.signal()
    assert first.exit() == 0, first.log
    assert second.process.poll() is None
    assert site.service.answer_to("t2.0", site.service.order("t2.0", "list", None))["ok"] is True
    site.service.stand("t2.0", end=True)
    assert second.exit() == 0, second.log

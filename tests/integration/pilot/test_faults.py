"""Lost, late, false and repeated words between pilot and service; the pilot's own clock."""

import time
from typing import Any

import pytest

from flyinglow.pilot.messages import Kind
from rigs.pilot_agent import BASE
from rigs.pilot_service import lost, status_500, wrong_mac
from rigs.pilot_site import Site
from rigs.waiting import eventually


def test_a_report_is_repeated_until_it_is_acknowledged_and_taken_once(site: Site) -> None:
    site.service.faults.extend([lost_answer, status_500, wrong_mac, lost_answer, status_500])
    pilot = site.start()
    site.service.report("t1.0", "ready")
    site.service.stand("t1.0", end=True)
    assert pilot.exit() == 0, pilot.log
    assert site.service.kinds("t1.0") == ["hello", "ready", "releasing", "released"]
    hellos = [heard.said for heard in site.service.heard if heard.said.kind is Kind.HELLO]
    assert len(hellos) >= 3
    assert len({(said.sequence, said.incarnation, said.time_ms) for said in hellos}) == 1


def test_a_forged_answer_changes_nothing(site: Site) -> None:
    site.service.poll_faults.extend([wrong_mac] * 3)  # each says: end
    pilot = site.start()
    site.service.report("t1.0", "ready")
    assert site.service.answer_to("t1.0", site.service.order("t1.0", "list", None))["ok"] is True
    assert "session=forged" not in pilot.log
    assert pilot.process.poll() is None


def test_an_old_answer_played_back_is_not_believed(site: Site) -> None:
    service = site.service
    recorded = []

    def record(said: Any, answer: Any) -> Any:
        recorded.append(answer)
        return 200, answer

    service.stand("t1.0", warned=None)
    service.poll_faults.append(record)
    pilot = site.start()
    service.report("t1.0", "ready")
    service.answer_to("t1.0", service.order("t1.0", "create", "vm1"))
    service.wait(lambda: recorded)
    service.poll_faults.extend([lambda *_: (200, recorded[0])] * 2)
    number = service.order("t1.0", "list", None)
    assert service.answer_to("t1.0", number)["ok"] is True
    eventually(lambda: "is not the service's" in pilot.log)


def test_orders_are_carried_out_once_although_answers_are_lost(site: Site) -> None:
    service = site.service
    site.start()
    service.report("t1.0", "ready")
    service.poll_faults.extend([lost_answer, lost_answer])
    service.said_faults.extend([lost_answer, status_500])
    numbers = [service.order("t1.0", "create", f"vm{index}") for index in range(5)]
    for number in numbers:
        service.answer_to("t1.0", number)
    assert [line for line in site.agent_log if line.startswith("create")] == [f"create vm{i}" for i in range(5)]
    answers = [line["id"] for line in service.desk("t1.0").lines if "id" in line]
    assert answers == numbers


def test_a_restarted_service_gets_the_agents_hello_and_no_answer_to_an_order_of_before(site: Site) -> None:
    service = site.service
    site.misbehave("slow-release")
    pilot = site.start()
    service.report("t1.0", "ready")
    service.answer_to("t1.0", service.order("t1.0", "create", "vm1"))
    service.down()
    service.session = "s2"
    desk = service.desk("t1.0")
    desk.orders.clear()
    desk.lines.clear()
    desk.poll_turn = 0
    service.up()
    number = service.order("t1.0", "list", None)
    assert service.answer_to("t1.0", number)["body"]["vms"]
    assert desk.lines[0]["news"] == "hello"
    assert [line["id"] for line in desk.lines if "id" in line] == [number]
    assert pilot.process.poll() is None


def test_a_service_that_is_away_costs_no_vm_and_the_slot_ends_on_its_own_clock(site: Site) -> None:
    pilot = site.start(seconds=10.0)
    left = site.service.report("t1.0", "ready").body["left"]
    assert 0 < left <= 10
    site.service.answer_to("t1.0", site.service.order("t1.0", "create", "vm1"))
    site.service.down()
    time.sleep(1.0)
    assert (pilot.process.poll(), site.vms) == (None, ["vm1"])
    eventually(lambda: site.memory == BASE)
    assert site.vms == []
    site.service.up()
    released = site.service.report("t1.0", "released")
    assert (released.body["reason"], released.body["destroyed"]) == ("deadline", ["vm1"])
    assert pilot.exit() == 0, pilot.log


def test_an_extension_moves_the_end(site: Site) -> None:
    pilot = site.start(seconds=6.0)
    site.service.report("t1.0", "ready")
    site.service.stand("t1.0", left=60.0)
    with pytest.raises(AssertionError):
        site.service.wait(lambda: site.service.stored("t1.0", "releasing"), 6.5)
    site.service.stand("t1.0", left=0.1)
    assert site.service.report("t1.0", "released").body["reason"] == "deadline"
    assert pilot.exit() == 0, pilot.log


def test_a_slot_of_an_unwanted_job_is_not_even_reserved_for_long(site: Site) -> None:
    site.service.stand("t1.0", end=True, reason="cancelled")
    pilot = site.start()
    assert pilot.exit() == 0, pilot.log
    assert site.memory == BASE
    assert site.service.kinds("t1.0")[-1] == "released"


def test_the_epoch_that_the_service_tells_is_taken_on(site: Site) -> None:
    site.service.epoch = 4
    site.start()
    assert site.service.report("t1.0", "hello").epoch == 1
    assert site.service.report("t1.0", "ready").epoch == 4


def lost_answer(said: Any, answer: Any) -> Any:
    """The message was stored; nobody hears of it."""
    return lost(said, answer)

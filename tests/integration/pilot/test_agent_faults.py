"""An agent that refuses, fails, dies or is of another version; memory is never left taken."""

import os
import signal
from pathlib import Path

import pytest

from rigs.pilot_agent import BASE
from rigs.pilot_site import Site
from rigs.waiting import eventually


def test_a_reservation_that_fails_is_undone_and_told(site: Site) -> None:
    site.misbehave("fail-reserve")  # memory was taken when it failed
    pilot = site.start()
    failed = site.service.report("t1.0", "failed")
    assert (failed.body["step"], failed.body["error"]["kind"]) == ("reserve", "broken")
    assert "balloon" in failed.body["error"]["message"]
    assert pilot.exit() == 4, pilot.log
    assert site.service.kinds("t1.0") == ["hello", "failed", "released"]
    assert site.memory == BASE


def test_memory_that_does_not_settle_is_given_back(site: Site) -> None:
    site.misbehave("unsettled")
    pilot = site.start()
    assert "did not settle" in site.service.report("t1.0", "failed").body["error"]["message"]
    assert pilot.exit() == 4, pilot.log
    assert site.memory == BASE


def test_an_agent_that_sudo_refuses_is_told_at_once(site: Site) -> None:
    site.misbehave("refuse")
    pilot = site.start()
    assert site.service.report("t1.0", "failed").body["step"] == "agent"
    assert pilot.exit() == 4, pilot.log
    assert "a password is required" in pilot.log


def test_no_agent_program_is_a_node_that_cannot(site: Site) -> None:
    pilot = site.start(agent=("flyinglow-no-such-program",))
    assert site.service.report("t1.0", "failed").body["step"] == "check"
    assert pilot.exit() == 3, pilot.log


def test_more_memory_than_the_node_has_is_refused_before_anything_is_changed(site: Site) -> None:
    pilot = site.start(slots=({"memory_mb": 1 << 30, "cpus": 1},))
    assert site.service.report("t1.0", "failed").body["error"]["kind"] == "never"
    assert pilot.exit() == 3, pilot.log
    assert not (site.node / "log").exists()


@pytest.mark.parametrize(("speaks", "told"), [("1-1", []), ("1-7", ["batch of 3 in version 2"])])
def test_orders_for_several_vms_reach_the_agent_as_one_message_where_it_knows_such(
    site: Site, speaks: str, told: list[str]
) -> None:
    site.misbehave(f"speaks={speaks}")
    site.start()
    site.service.report("t1.0", "ready")
    numbers = site.service.orders("t1.0", *[("create", tag, {}) for tag in ("a1", "a2", "a3")], version=len(told) + 1)
    for number, tag in zip(numbers, ("a1", "a2", "a3"), strict=True):
        assert site.service.answer_to("t1.0", number)["body"]["tag"] == tag
    assert site.agent_log[-3 - len(told) :] == [*told, "create a1", "create a2", "create a3"]


def test_an_agent_of_another_version_is_refused_and_both_are_named(site: Site) -> None:
    site.misbehave("speaks=8-9")
    pilot = site.start()
    message = site.service.report("t1.0", "failed").body["error"]["message"]
    assert "the agent speaks versions 8 to 9, this pilot versions 1 to 2: upgrade this pilot" in message
    assert pilot.exit() == 6, pilot.log


def test_an_agent_that_dies_is_started_again_and_reserves_again(site: Site) -> None:
    service = site.service
    pilot = site.start()
    service.report("t1.0", "ready")
    answer = service.answer_to("t1.0", service.order("t1.0", "die"))
    assert (answer["ok"], answer["error"]["kind"]) == (False, "transient")
    service.wait(lambda: len(service.stored("t1.0", "ready")) == 2)
    assert service.answer_to("t1.0", service.order("t1.0", "list", None))["ok"] is True
    assert [line["news"] for line in service.desk("t1.0").lines if "news" in line] == ["hello", "hello"]
    service.stand("t1.0", end=True)
    assert pilot.exit() == 0, pilot.log
    assert site.memory == BASE


def test_an_agent_that_dies_again_and_again_ends_the_slot(site: Site) -> None:
    service = site.service
    pilot = site.start()
    for times in range(1, 5):
        service.wait(lambda: len(service.stored("t1.0", "ready")) == times)  # noqa: B023 - called at once
        service.order("t1.0", "die")
    assert "ended 4 times" in service.report("t1.0", "failed").body["error"]["message"]
    assert pilot.exit() == 4, pilot.log
    assert site.memory == BASE  # by one more agent
    assert service.kinds("t1.0")[-1] == "released"


def test_an_agent_that_dies_while_it_reserves_leaves_nothing_taken(site: Site) -> None:
    site.misbehave("die-in-reserve")
    pilot = site.start()
    failed = site.service.report("t1.0", "failed")
    assert failed.body["step"] == "reserve"
    (site.node / "misbehave").unlink()
    assert pilot.exit() == 4, pilot.log
    assert site.memory == BASE


def test_what_cannot_be_given_back_is_not_said_to_be(site: Site) -> None:
    site.misbehave("fail-release")
    pilot = site.start(grace=6.0, share=0.1)
    site.service.report("t1.0", "ready")
    pilot.signal()
    failed = site.service.report("t1.0", "failed")
    assert failed.body["step"] == "undo reserve"
    assert "cannot be ended" in failed.body["error"]["message"]
    assert pilot.exit() == 5, pilot.log
    assert not site.service.stored("t1.0", "released")
    assert site.agent_log.count("release") >= 2
    eventually(lambda: "undone at the end of input" in site.agent_log)


def test_a_pilot_that_is_killed_leaves_the_undoing_to_the_agent(site: Site) -> None:
    pilot = site.start()
    site.service.report("t1.0", "ready")
    site.service.answer_to("t1.0", site.service.order("t1.0", "create", "vm1"))
    pilot.signal(signal.SIGKILL)
    pilot.exit()
    eventually(lambda: "end" in site.agent_log)
    assert (site.memory, site.vms) == (BASE, [])


def test_the_service_cannot_take_the_pilots_own_orders(site: Site) -> None:
    site.start()
    site.service.report("t1.0", "ready")
    answer = site.service.answer_to("t1.0", site.service.order("t1.0", "release", None, slot="t1.0"))
    assert answer["error"]["kind"] == "conflict"
    assert "release" not in site.agent_log


def test_no_key_is_in_argv_or_environment(site: Site) -> None:
    pilot = site.start()
    site.service.report("t1.0", "ready")
    for pid in (pilot.process.pid, int((site.node / "pid").read_text())):
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert site.settings.key.encode() not in text
            assert b"22" * 32 not in text
    assert os.getsid(pilot.process.pid) != os.getsid(int((site.node / "pid").read_text()))

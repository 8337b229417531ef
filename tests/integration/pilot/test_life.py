"""A slot's life with the real pilot, from the file that a job carries."""

import signal

from rigs.pilot_agent import BASE
from rigs.pilot_site import Site


def test_a_slot_is_reserved_serves_and_is_given_back(each_python: Site) -> None:
    site, service = each_python, each_python.service
    pilot = site.start()
    ready = service.report("t1.0", "ready")
    assert (ready.body["memory_mb"], ready.body["target_mb"], ready.node) == (1024, BASE - 1024, "n1")
    assert site.memory == BASE - 1024
    assert service.answer_to("t1.0", service.order("t1.0", "create", "vm1"))["ok"] is True
    assert service.answer_to("t1.0", service.order("t1.0", "list", None))["body"]["vms"][0]["tag"] == "vm1"
    service.stand("t1.0", end=True, reason="the lease is over")
    released = service.report("t1.0", "released")
    assert released.body["destroyed"] == ["vm1"]
    assert released.body["restored_mb"] == 1024
    assert released.body["reason"] == "ended: the lease is over"
    assert pilot.exit() == 0, pilot.log
    assert (site.memory, site.vms) == (BASE, [])
    assert service.kinds("t1.0") == ["hello", "ready", "releasing", "released"]
    assert site.settings.key not in pilot.log
    assert "22" * 32 not in pilot.log


def test_a_signal_leaves_the_service_its_share_then_the_pilot_ends_the_vms_itself(each_python: Site) -> None:
    site, service = each_python, each_python.service
    pilot = site.start(grace=40.0, share=0.025)
    service.report("t1.0", "ready")
    service.answer_to("t1.0", service.order("t1.0", "create", "vm1"))
    pilot.signal(signal.SIGUSR2)
    told = service.report("t1.0", "signalled")
    assert told.body["signal"] == "SIGUSR2"
    assert told.body["grace"] == 40.0
    assert 20 < told.body["left"] <= 39
    released = service.report("t1.0", "released")
    assert pilot.exit() == 0, pilot.log
    assert released.body["destroyed"] == ["vm1"]
    assert 900 <= released.time_ms - told.time_ms < 39_000
    assert (site.memory, site.vms) == (BASE, [])

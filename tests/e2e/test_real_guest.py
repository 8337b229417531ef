"""One workspace with a real guest in QEMU, from Create to the end of its lease, by what it says on its own console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, Nic, Part, Resource, connect
from flyinglow.client.notification import Notification
from flyinglow.client.watch import Watch
from rigs.daemon import Daemon
from rigs.guest import Guest

pytestmark = pytest.mark.xdist_group("real-guest")

BOOT_SECONDS = 240  # emulated, on a machine that has other work
LEAD, LEFT = 4, 7
Eventually = Callable[..., Any]
Gather = Callable[[Watch], list[Notification]]


def says(resource: Resource, *words: str, times: int = 1) -> Callable[[], str | None]:
    """Return a question: has the guest said each of these at least so many times? The answer is its console."""

    def heard() -> str | None:
        text = resource.console(max=1 << 20).data.decode(errors="replace")
        return text if all(text.count(word) >= times for word in words) else None

    return heard


def test_a_guest_lives_through_everything_that_can_be_asked_of_it(
    daemon_factory: Callable[..., Daemon],
    guest_image: Guest,
    consumer: Consumer,
    eventually: Eventually,
    news_of: Gather,
) -> None:
    terms = f"[notification]\nallow_loopback = true\n[lease]\nwarn_before = {LEAD}\n"
    daemon = daemon_factory(driver="qemu", image=guest_image.entry, toml=terms)
    part = Part(
        name="ce", memory_mb=128, disks=(Disk(image="guest"),), nics=(Nic(network="private"),), user_data=b"hello"
    )
    one = connect(daemon.url).create([part], name="ce", duration=1200).whole
    watch = consumer.watch(one)
    (nic,) = one.wait("Running", timeout=BOOT_SECONDS).nics
    assert (nic.ip, nic.prefix) == ("10.73.0.20", 24)
    console = eventually(says(one, "GUEST-READY"), BOOT_SECONDS)
    assert f"GUEST-HOSTNAME {nic.hostname}" in console
    assert f"{nic.ip}/" in console
    assert "GUEST-USERDATA bytes=5" in console

    one.pause()
    one.wait("Paused", timeout=120)
    size = one.console().size
    assert daemon.nodectl("n1", "list")["vms"][0]["status"] == "paused"
    one.resume()
    one.wait("Running", timeout=120)
    assert one.console().size >= size

    one.reboot()
    one.wait("Running", timeout=BOOT_SECONDS)
    eventually(says(one, "GUEST-READY", f"GUEST-HOSTNAME {nic.hostname}", times=2), BOOT_SECONDS)

    one.shutdown()
    one.wait("Propagated", timeout=BOOT_SECONDS)
    (vm,) = daemon.nodectl("n1", "list")["vms"]
    assert vm["status"] == "stopped"
    one.start()
    one.wait("Running", timeout=BOOT_SECONDS)

    one.extend(LEFT - int((_ends(one) - _now(one)).total_seconds()))
    news = news_of(watch)
    numbers = [each.sequence for each in news]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    topics = [each.topic for each in news]
    assert topics.index("schedule") < topics.index("warning") < topics.index("termination") == len(topics) - 1
    seen = [each.state for each in news if each.topic == "state" and each.task is None]
    assert _without_repeats(seen) == ["Running", "Paused", "Running", "Propagated", "Running", "Ended"]
    assert one.properties().reason == "the lease has ended"
    assert daemon.nodectl("n1", "list")["vms"] == []
    assert all(node["free"]["memory_mb"] == node["memory_mb"] for node in daemon.admin("node.list"))


def _ends(resource: Resource) -> Any:
    return resource.properties().ends_at


def _now(resource: Resource) -> Any:
    return resource.properties().current_time


def _without_repeats(states: list[str | None]) -> list[str | None]:
    return [state for number, state in enumerate(states) if number == 0 or state != states[number - 1]]

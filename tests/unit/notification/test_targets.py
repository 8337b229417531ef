"""One consumer is one target, however its address is spelled."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.notification.model import host_of, target_of
from flyinglow.notification.slots import Slots


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://Victim.Example/x", "victim.example"),
        ("https://victim.example.:8443/", "victim.example"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f.0.0.1/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://[2001:DB8:0:0::1]/", "2001:db8::1"),
        ("http://[2001:db8:0000::0.0.0.1]/", "2001:db8::1"),
        ("http://[/", ""),
        ("urn:x", ""),
    ],
)
def test_a10_a_host_has_one_name_however_it_is_spelled(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a.example/", "http://A.example.:80/other", True),
        ("https://a.example/", "https://a.example:443/", True),
        ("http://127.1:9000/", "http://127.0.0.1:9000/", True),
        ("http://a.example/", "https://a.example/", False),
        ("http://a.example:1/", "http://a.example:2/", False),
    ],
)
def test_a10_a_consumers_slots_are_its_own_however_it_is_spelled(one: str, other: str, same: bool) -> None:
    slots, held = Slots(per_consumer=1), []

    async def hold(address: str) -> Any:
        async with slots.slot(address, failing=False):
            held.append(address)
            await Deferred()

    waiting = [Deferred.fromCoroutine(hold(address)) for address in (one, other)]
    assert held == ([one] if same else [one, other])
    assert (target_of(one) == target_of(other)) is same
    for each in waiting:
        each.addErrback(lambda _: None)
        each.cancel()

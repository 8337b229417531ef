"""Address pools out of the configuration."""

from __future__ import annotations

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.settings import Network
from flyinglow.server.pools import MAX_POOL, pool


def test_a_pool_has_every_address_but_the_gateway() -> None:
    nics = pool("a", Network(cidr="10.1.0.0/24", range="10.1.0.1-10.1.0.4", gateway="10.1.0.2", dns=("10.1.0.9",)))
    assert [nic.ip for nic in nics] == ["10.1.0.1", "10.1.0.3", "10.1.0.4"]
    assert {nic.prefix for nic in nics} == {24}
    assert nics[0].mac == "52:54:00:01:00:01"
    assert nics[0].hostname == "a-1"
    assert nics[0].dns == ("10.1.0.9",)


def test_macs_and_host_names_are_distinct_over_a_wide_network() -> None:
    nics = pool("w", Network(cidr="10.0.0.0/8", range="10.0.0.250-10.0.4.9", hostname="h{n}"))
    assert len({nic.mac for nic in nics}) == len(nics) == len({nic.hostname for nic in nics})
    assert nics[0].hostname == "h0-0-250"


def test_a_pool_too_large_is_refused() -> None:
    with pytest.raises(InvalidError, match=str(MAX_POOL)):
        pool("w", Network(cidr="10.0.0.0/8", range="10.0.0.1-10.2.0.1"))


def test_version_6_addresses_have_a_pool_too() -> None:
    nics = pool("s", Network(cidr="fd00::/64", range="fd00::10-fd00::1f"))
    assert len(nics) == 16
    assert nics[0].hostname == "s-10"

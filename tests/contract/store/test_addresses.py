"""Address pools, on both databases."""

from typing import Any

import pytest

from flyinglow.backend.api import PoolView
from flyinglow.nodectl.errors import ExhaustedError, InvalidError
from flyinglow.store import Store
from flyinglow.workspace.model import Nic
from rigs.store import pool


def define(store: Store, network: str, addresses: list[Nic]) -> None:
    store.call(lambda tx: tx.addresses.define(network, addresses))


def lease(store: Store, network: str, workspace_id: str) -> Nic:
    nic: Nic = store.call(lambda tx: tx.addresses.lease(network, workspace_id, "eth0"))
    return nic


def free(store: Store) -> dict[str, PoolView]:
    return dict(store.view(lambda tx: tx.addresses.view()))


def test_the_first_free_address_is_leased_whole(any_store: Store) -> None:
    define(any_store, "public", pool("public", 300))
    define(any_store, "private", pool("private", 2))
    nic = lease(any_store, "public", "w1")
    assert nic == Nic(
        network="public",
        name="eth0",
        ip="10.0.0.1",
        prefix=16,
        mac="02:00:00:00:00:01",
        hostname="h1",
        gateway="10.0.0.254",
        dns=("10.0.0.253", "10.0.0.252"),
    )
    assert lease(any_store, "public", "w2").ip == "10.0.0.2"
    assert lease(any_store, "private", "w2").ip == "10.0.0.1"
    assert free(any_store) == {"public": PoolView(300, 298), "private": PoolView(2, 1)}
    any_store.call(lambda tx: tx.addresses.give_back(["w1", "unknown"]))
    assert lease(any_store, "public", "w3").ip == "10.0.0.1"


def test_several_nics_on_one_network_get_several_addresses(any_store: Store) -> None:
    define(any_store, "public", pool("public", 3))

    def two(tx: Any) -> list[str]:
        return [tx.addresses.lease("public", "w1", name).ip for name in ("eth0", "eth1")]

    assert any_store.call(two) == ["10.0.0.1", "10.0.0.2"]
    any_store.call(lambda tx: tx.addresses.give_back(["w1"]))
    assert free(any_store) == {"public": PoolView(3, 3)}


def test_an_empty_pool_says_so_with_figures(any_store: Store) -> None:
    define(any_store, "public", pool("public", 1))
    lease(any_store, "public", "w1")
    with pytest.raises(ExhaustedError) as refused:
        lease(any_store, "public", "w2")
    assert refused.value.figures == {"network.public.total": 1, "network.public.free": 0}
    with pytest.raises(ExhaustedError):
        lease(any_store, "unknown", "w2")


def test_a_lease_that_fails_takes_nothing(any_store: Store) -> None:
    define(any_store, "public", pool("public", 2))

    def three(tx: Any) -> None:
        for number in range(3):
            tx.addresses.lease("public", f"w{number}", "eth0")

    with pytest.raises(ExhaustedError):
        any_store.call(three)
    assert free(any_store) == {"public": PoolView(2, 2)}


def test_an_address_on_lease_outlives_its_place_in_the_pool(any_store: Store) -> None:
    define(any_store, "public", pool("public", 3))
    for number in range(2):
        lease(any_store, "public", f"w{number}")
    define(any_store, "public", pool("public", 2, first=2))
    assert free(any_store) == {"public": PoolView(2, 1)}
    assert lease(any_store, "public", "w3").ip == "10.0.0.3"
    with pytest.raises(ExhaustedError):
        lease(any_store, "public", "w4")
    any_store.call(lambda tx: tx.addresses.give_back(["w0"]))
    with pytest.raises(ExhaustedError):
        lease(any_store, "public", "w4")


def test_an_address_comes_back_into_the_pool_still_on_lease(any_store: Store) -> None:
    define(any_store, "public", pool("public", 2))
    lease(any_store, "public", "w1")
    define(any_store, "public", [])
    assert free(any_store) == {}
    define(any_store, "public", pool("public", 2))
    assert free(any_store) == {"public": PoolView(2, 1)}
    assert lease(any_store, "public", "w2").ip == "10.0.0.2"


def test_a_changed_address_is_leased_as_changed_and_in_the_new_order(any_store: Store) -> None:
    define(any_store, "public", pool("public", 2))
    changed = [Nic(network="public", ip=nic.ip, prefix=8, mac="02::9") for nic in reversed(pool("public", 2))]
    define(any_store, "public", changed)
    assert lease(any_store, "public", "w1") == Nic(
        network="public", name="eth0", ip="10.0.0.2", prefix=8, mac="02::9", hostname=""
    )


def test_an_address_stands_in_a_pool_once(any_store: Store) -> None:
    with pytest.raises(InvalidError):
        define(any_store, "public", pool("public", 1) * 2)

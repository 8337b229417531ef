"""How much of the service one caller gets."""

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.access.rates import Rate
from flyinglow.wsrf.gate import Gate

ALICE, BOB = Identity("alice", via="x509"), Identity("bob", via="bearer")


class Hand:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_identity_has_a_rate_of_its_own() -> None:
    clock = Hand()
    gate = Gate(clock, identity=Rate(1.0, 2))
    assert [gate.caller(ALICE) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert gate.caller(BOB) == 0.0
    clock.now = 1.0
    assert gate.caller(ALICE) == 0.0


def test_the_one_local_caller_is_limited_only_where_the_site_says_so() -> None:
    assert {Gate(Hand(), identity=Rate(1.0, 1), waiting=1).caller(LOCAL) for _ in range(9)} == {0.0}
    free = Gate(Hand(), identity=Rate(1.0, 1))
    assert [free.caller(LOCAL), free.caller(LOCAL)] == [0.0, 0.0]
    strict = Gate(Hand(), identity=Rate(1.0, 1), local=True)
    assert [strict.caller(LOCAL), strict.caller(LOCAL)] == [0.0, 1.0]


def test_an_address_counts_for_bad_credentials_only() -> None:
    gate = Gate(Hand(), address=Rate(0.5, 2))
    assert [gate.stranger("192.0.2.1") for _ in range(3)] == [0.0, 0.0, 2.0]
    assert gate.stranger("192.0.2.2") == 0.0
    assert gate.caller(ALICE) == 0.0


def test_a_host_has_one_bucket_whichever_of_its_addresses_it_takes() -> None:
    gate = Gate(Hand(), address=Rate(0.5, 2))
    assert [gate.stranger(f"2001:db8::{at:x}") for at in range(3)] == [0.0, 0.0, 2.0]
    assert gate.stranger("2001:db8:0:1::1") == 0.0
    assert [gate.stranger(each) for each in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1")] == [0.0, 0.0, 2.0]
    assert gate.stranger("not an address") == 0.0


def test_one_identity_fills_no_more_than_its_places() -> None:
    gate = Gate(Hand(), waiting=2)
    assert [gate.enter(ALICE), gate.enter(ALICE), gate.enter(ALICE), gate.enter(BOB)] == [True, True, False, True]
    gate.leave(ALICE)
    assert gate.enter(ALICE)
    for caller in (ALICE, ALICE, BOB):
        gate.leave(caller)
    assert not gate._under_way

"""Token buckets: a burst at once, then as many as come back in time; of bounded size."""

from flyinglow.access.rates import Buckets, Rate


class Hand:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Hand()
    buckets = Buckets(Rate(2.0, 3), clock)
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b") == 0.0
    clock.now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 0.5]
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_looking_takes_nothing() -> None:
    buckets = Buckets(Rate(1.0, 1), Hand())
    assert [buckets.wait("a"), buckets.wait("a"), buckets.take("a")] == [0.0, 0.0, 0.0]
    assert buckets.wait("a") == 1.0


def test_no_rate_is_no_limit() -> None:
    buckets = Buckets(Rate(0.0, 1), Hand())
    assert {buckets.take("a") for _ in range(100)} == {0.0}


def test_made_up_keys_take_bounded_memory_and_take_nothing_from_who_is_active() -> None:
    buckets = Buckets(Rate(1.0, 1), Hand(), keys=10)
    buckets.take("a")
    for at in range(100):
        buckets.take(f"made up {at}")
        assert buckets.wait("a") == 1.0
    assert len(buckets._full) == 10

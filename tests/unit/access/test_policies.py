"""Policies and quotas: what one may have, and whether it still fits."""

from datetime import UTC, datetime, timedelta

import pytest

from flyinglow.access.decision import Allow, Deny
from flyinglow.access.identity import OPERATOR, Identity
from flyinglow.access.policy import NOTHING, OPEN, Period, Policy, PolicyBook, Wish, permits
from flyinglow.access.quotas import Held, Use, day_of, days, extends, first_day, fits, use_of

NOON = datetime(2030, 1, 15, 12, tzinfo=UTC)
WISH = Wish(offers=frozenset({"standard"}), networks=frozenset({"private"}), images=frozenset({"store:debian"}),
            members=3, cpus=6, memory_mb=300, duration=3600)  # fmt: skip


def policy(**words: object) -> Policy:
    return Policy(**{"names": ("p",), **words})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, None),
        ({"offers": ("standard",), "networks": ("priv*",), "images": ("store:*",)}, None),
        ({"members": 3, "duration": 3600}, None),
        ({"offers": ("preemptable",)}, "does not allow standard of the site's offers (it allows: preemptable)"),
        ({"networks": ()}, "does not allow private of the site's networks (it allows: none)"),
        ({"images": ("Store:*",)}, "does not allow store:debian"),
        ({"members": 2}, "allows 2 workspaces in a request; 3 were asked for"),
        ({"duration": 3599}, "allows 3599 s for a lease; 3600 were asked for"),
    ],
)
def test_what_one_may_have_at_all(words: dict[str, object], said: str | None) -> None:
    verdict = permits(policy(**words), WISH)
    if said is None:
        assert verdict == Allow()
    else:
        assert isinstance(verdict, Deny)
        assert said in verdict.reason


USE = Use(running=2, cpus=4, memory_mb=200, used=3600, reserved=1800)


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        ({"running": 5, "cpus": 10, "memory_mb": 500, "minutes": 270}, None),
        ({"running": 4}, {"running.limit": 4, "running.used": 2, "running.asked": 3}),
        ({"cpus": 9}, {"cpus.limit": 9, "cpus.used": 4, "cpus.asked": 6}),
        ({"memory_mb": 499}, {"memory_mb.limit": 499, "memory_mb.used": 200, "memory_mb.asked": 300}),
        (
            {"minutes": 269},
            {"minutes.limit": 269, "minutes.used": 60, "minutes.reserved": 30, "minutes.asked": 180},
        ),
    ],
)
def test_what_fits_and_the_figures_of_what_does_not(words: dict[str, object], figures: dict[str, int] | None) -> None:
    verdict = fits(policy(**words), USE, WISH)
    assert verdict == Allow() if figures is None else isinstance(verdict, Deny) and verdict.figures == figures


def test_an_extension_counts_and_an_earlier_end_always_fits() -> None:
    assert extends(policy(minutes=100), USE, 600) == Allow()
    assert isinstance(extends(policy(minutes=100), USE, 601), Deny)
    assert extends(policy(minutes=0), USE, -1) == Allow()


def test_what_has_passed_of_a_lease_is_used_and_the_rest_reserved() -> None:
    begun = Held(cpus=1, memory_mb=10, begun_at=NOON - timedelta(seconds=600), seconds=3600)
    waits = Held(cpus=2, memory_mb=20, begun_at=None, seconds=100)
    late = Held(cpus=1, memory_mb=10, begun_at=NOON - timedelta(days=9), seconds=50)
    assert use_of([begun, waits, late], 7, NOON) == Use(
        running=3, cpus=4, memory_mb=40, used=7 + 600 + 50, reserved=3000 + 100
    )
    back = Held(cpus=1, memory_mb=1, begun_at=NOON + timedelta(hours=1), seconds=60)  # the clock was set back
    assert use_of([back], 0, NOON) == Use(running=1, cpus=1, memory_mb=1, used=0, reserved=60)


def test_days_are_the_calendars_in_utc() -> None:
    evening = datetime(2030, 1, 31, 23, 59, 30, tzinfo=UTC)
    assert days(evening, evening + timedelta(days=1, seconds=60)) == {
        day_of(evening): 30, day_of(evening) + 1: 86400, day_of(evening) + 2: 30,
    }  # fmt: skip
    assert days(NOON, NOON - timedelta(1)) == {}
    assert first_day(Period.DAY, NOON) == day_of(NOON)
    assert first_day(Period.MONTH, NOON) == day_of(NOON) - 14


BOOK = PolicyBook(
    policies={
        "small": policy(names=("small",), running=1, minutes=10, period=Period.DAY, images=("a",), networks=None),
        "large": policy(names=("large",), running=9, minutes=200, images=("b",), networks=("n",), cpus=4),
        "guests": policy(names=("guests",), running=0),
    },
    groups={"small": frozenset({"atlas"}), "large": frozenset({"cms"})},
    identities={"large": frozenset({"alice"})},
    default="guests",
)


def test_of_several_policies_the_most_generous_words_count() -> None:
    both = BOOK.of(Identity("alice", groups=frozenset({"atlas"})))
    assert both == Policy(names=("small", "large"), running=9, minutes=10, period=Period.DAY, images=("a", "b"))


def test_who_has_no_policy_has_the_default_or_nothing() -> None:
    default = BOOK.of(Identity("eve"))
    assert default is not None
    assert default.names == ("guests",)
    assert BOOK.of(OPERATOR) is None
    assert OPEN.of(Identity("eve")) is None
    assert PolicyBook(policies=BOOK.policies, groups={}, identities={}).of(Identity("eve")) == NOTHING
    assert isinstance(fits(NOTHING, Use(), WISH), Deny)

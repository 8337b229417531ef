"""When a slot ends, by every clock there is."""

import pytest

from flyinglow.pilot.messages import Settings, Standing
from flyinglow.pilot.term import Term


@pytest.fixture
def term(settings: Settings) -> Term:
    term = Term(settings, 100.0)  # until 700; grace 30, share 0.5
    term.serving = True
    return term


def test_giving_back_begins_before_the_slots_own_end(term: Term) -> None:
    assert term.release_at(101.0) == 695.0
    assert (term.left(100.0), term.limit, term.reason) == (600.0, None, "deadline")


def test_after_a_notice_the_service_has_its_share_and_a_second_is_never_used(term: Term) -> None:
    assert term.notice("SIGTERM", 200.0) is True
    assert term.release_at(200.0) == 215.0
    assert term.limit == 229.0
    assert term.left(200.0) == 29.0
    assert term.reason == "signal SIGTERM"


def test_later_notices_change_nothing(term: Term) -> None:
    term.notice("SIGTERM", 200.0)
    assert term.notice("SIGUSR2", 230.0) is False
    assert (term.limit, term.reason) == (229.0, "signal SIGTERM")


def test_without_vms_giving_back_begins_at_once(term: Term) -> None:
    term.serving = False
    term.notice("SIGTERM", 200.0)
    assert term.release_at(200.0) == 200.0
    assert term.release_at(200.0, patient=True) == 215.0


def test_the_services_share_never_takes_what_giving_back_needs(settings: Settings) -> None:
    from dataclasses import replace

    term = Term(replace(settings, share=1.0, grace=8.0), 0.0)
    term.serving = True
    term.notice("SIGTERM", 100.0)
    assert term.release_at(100.0) == 104.0
    short = Term(replace(settings, share=1.0, grace=1.0), 0.0)
    short.notice("SIGTERM", 100.0)
    assert short.limit == 100.5


def test_the_end_by_its_own_clock_counts_in_the_grace_too(term: Term) -> None:
    term.notice("SIGTERM", 690.0)
    assert term.release_at(690.0) == 695.0


def test_the_services_word_ends_it_at_once_and_its_reason_is_kept(term: Term) -> None:
    term.hear(Standing(end=True, reason="destroyed"), 300.0)
    term.hear(Standing(end=True, reason="again"), 301.0)
    assert term.release_at(302.0) == 302.0
    assert term.reason == "ended: destroyed"


def test_an_extension_counts_from_its_answer(term: Term) -> None:
    term.hear(Standing(left=1000.0), 300.0)
    assert term.left(300.0) == 1000.0
    assert term.release_at(300.0) == 1295.0


def test_an_extension_after_the_notice_is_void(term: Term) -> None:
    term.notice("SIGTERM", 200.0)
    term.hear(Standing(left=1000.0), 201.0)
    assert term.release_at(201.0) == 215.0


def test_another_pilots_notice_is_counted_from_when_that_one_got_it(term: Term) -> None:
    term.hear(Standing(warned=20.0), 300.0)  # ten seconds are over
    assert term.signalled
    assert (term.release_at(300.0), term.limit, term.reason) == (305.0, 319.0, "warned")
    term.hear(Standing(warned=19.9), 300.2)  # the same one, said again
    assert term.limit == 319.0
    assert term.notice("SIGTERM", 303.0) is False
    assert term.limit == 319.0


def test_an_earlier_notice_of_another_makes_the_time_shorter(term: Term) -> None:
    term.notice("SIGTERM", 300.0)
    term.hear(Standing(warned=5.0), 300.0)
    assert term.limit == 304.0
    assert term.reason == "signal SIGTERM"

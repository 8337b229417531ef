"""xs:dateTime and xs:duration: aware UTC, calendar arithmetic, bounds."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.times import Duration, duration_text, parse_duration, parse_time, timestamp

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENTS = st.integers(-(2 * 10**15), 7 * 10**15).map(
    lambda n: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=n)
)


@given(MOMENTS)
def test_a_time_comes_back_as_it_went(at: datetime) -> None:
    assert parse_time(timestamp(at)) == at.replace(microsecond=0)
    assert abs(parse_time(timestamp(at, milliseconds=True)) - at) < timedelta(milliseconds=1)


@given(st.integers(0, 10**9))
def test_a_duration_comes_back_as_it_went(seconds: int) -> None:
    assert parse_duration(duration_text(seconds)) == Duration(0, seconds)


@given(st.text(alphabet="PTYMDHS0123456789.-", max_size=30))
def test_no_text_does_anything_but_give_a_duration_or_invalid(text: str) -> None:
    with suppress(InvalidError):
        assert parse_duration(text).after(START) >= START


@given(st.text(max_size=40))
def test_no_text_does_anything_but_give_a_time_or_invalid(text: str) -> None:
    with suppress(InvalidError):
        assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T12:00:00", "2026-11-22T12:00:00Z"),
        ("2026-11-22T12:00:00+05:30", "2026-11-22T06:30:00Z"),
        ("2026-11-22T12:00:00-01:00", "2026-11-22T13:00:00Z"),
        ("2026-12-31T24:00:00Z", "2027-01-01T00:00:00Z"),
        (" 2026-11-22T12:00:00.123456789Z ", "2026-11-22T12:00:00Z"),
    ],
)
def test_times_are_read_as_xml_schema_means_them(text: str, expected: str) -> None:
    assert timestamp(parse_time(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-02-29T00:00:00Z", "2026-11-22", "12026-11-22T12:00:00Z", "-2026-11-22T12:00:00Z",
     "2026-11-22T12:00:60Z", "2026-11-22T25:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T24:00:00Z",
     "2026-11-22T12:00:00+15:00", "\uff12026-11-22T12:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P1M", "2026-02-28T12:00:00Z"),
        ("P1Y1M", "2027-02-28T12:00:00Z"),
        ("P2Y1M", "2028-02-29T12:00:00Z"),
        ("P1MT1H", "2026-02-28T13:00:00Z"),
        ("P1DT2H3M4.9S", "2026-02-01T14:03:04Z"),
        ("P100Y", "2126-01-31T12:00:00Z"),
    ],
)
def test_months_go_by_the_calendar(text: str, expected: str) -> None:
    assert timestamp(parse_duration(text).after(START)) == expected


def test_seconds_depend_on_the_start() -> None:
    assert parse_duration("P1M").seconds_from(START) == 28 * 86400
    assert parse_duration("P1M").seconds_from(datetime(2026, 3, 1, tzinfo=UTC)) == 31 * 86400


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1", "1H", "PT1", "P1H", "-P1D", "P101Y", "P1201M", "P100000000Y", "PT999999999999S", "PT.5S",
     "P99999999999999999999Y", "P1Y2", "PT1H1H"],
)  # fmt: skip
def test_what_is_no_reasonable_duration_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_duration(text)


def test_what_leads_beyond_the_calendar_is_invalid() -> None:
    with pytest.raises(InvalidError):
        parse_duration("P100Y").after(datetime(9950, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidError):
        duration_text(-1)


def test_durations_are_short() -> None:
    assert [duration_text(n) for n in (0, 60, 3661, 86400, 90000)] == ["PT0S", "PT1M", "PT1H1M1S", "P1D", "P1DT1H"]

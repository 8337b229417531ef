from datetime import UTC, datetime

import pytest

from flyinglow.client import reading
from flyinglow.nodectl.errors import BrokenError

FL = 'xmlns="urn:flyinglow:types:1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2030-01-01T12:00:00Z", datetime(2030, 1, 1, 12, tzinfo=UTC)),
        ("2030-01-01T12:00:00.250Z", datetime(2030, 1, 1, 12, 0, 0, 250000, tzinfo=UTC)),
        ("2030-01-01T14:00:00+02:00", datetime(2030, 1, 1, 12, tzinfo=UTC)),
        ("2030-01-01T12:00:00", datetime(2030, 1, 1, 12, tzinfo=UTC)),
    ],
)
def test_times_are_utc(text: str, read: datetime) -> None:
    assert reading.point(text) == read
    assert reading.point(text).tzinfo is UTC


def test_what_is_missing_or_nil_is_none() -> None:
    document = reading.parse(f'<P {FL}><State> Running </State><TerminationTime xsi:nil="true"/></P>'.encode())
    assert reading.text(document, "State") == "Running"
    assert reading.moment(document, "TerminationTime") is None
    assert reading.number(document, "Total") is None
    assert reading.seconds(document, "Duration") is None
    assert not reading.flag(document, "Open")


def test_durations_become_seconds() -> None:
    assert reading.seconds(reading.parse(f"<P {FL}><Duration>P1DT1H</Duration></P>".encode()), "Duration") == 90000


@pytest.mark.parametrize("written", ["P1M", "soon", "1h"])
def test_durations_without_a_fixed_length_are_refused(written: str) -> None:
    document = reading.parse(f"<P {FL}><Duration>{written}</Duration></P>".encode())
    with pytest.raises(BrokenError):
        reading.seconds(document, "Duration")


@pytest.mark.parametrize("read", [reading.number, reading.moment])
def test_malformed_values_are_the_services_fault(read: object) -> None:
    document = reading.parse(f"<P {FL}><Total>many</Total></P>".encode())
    with pytest.raises(BrokenError):
        read(document, "Total")  # type: ignore[operator]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    ],
)
def test_what_no_soap_message_may_be_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenError):
        reading.parse(data)

"""DER values are taken apart and put together; bytes that are none are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access import der
from flyinglow.nodectl.errors import InvalidError

PARTS = st.lists(st.tuples(st.sampled_from([der.SEQUENCE, der.UTF8_STRING, 0x02]), st.binary(max_size=400)), max_size=5)


@given(PARTS)
def test_what_was_put_together_comes_apart(parts: list[tuple[int, bytes]]) -> None:
    values = [der.encoded(tag, content) for tag, content in parts]
    assert list(der.members(der.encoded(der.SEQUENCE, b"".join(values)))) == values


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65536])
def test_lengths_have_as_few_octets_as_they_can(size: int) -> None:
    head = len(der.encoded(der.SEQUENCE, b"x" * size)) - size
    assert head == {0: 2, 127: 2, 128: 3, 255: 3, 256: 4, 65536: 5}[size]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut short"),
        (b"\x30", "cut short"),
        (b"\x30\x01", "cut short"),
        (b"\x30\x02\x02\x01", "cut short"),  # its member reaches beyond it
        (b"\x30\x00\x00", "follows"),
        (b"\x31\x00", "SEQUENCE was expected"),
        (b"\x30\x80\x00\x00", "length"),  # of indefinite length, which DER does not have
        (b"\x30\x85\x00\x00\x00\x00\x00", "length"),
        (b"\x30\x84\x00\x00", "length"),
    ],
)
def test_what_is_no_sequence_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        list(der.members(data))


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_apart_or_refused(data: bytes) -> None:
    try:
        found = list(der.members(data))
    except InvalidError:
        return
    assert data.endswith(b"".join(found))


def test_a_member_does_not_reach_beyond_its_sequence() -> None:
    inner = der.encoded(der.SEQUENCE, b"\x02\x05x")
    with pytest.raises(InvalidError):
        list(der.members(inner))

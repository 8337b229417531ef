"""What guests may ask for, how they are told where, and the key that makes them known."""

from pathlib import Path

import pytest

from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.server.configuration.file import parse
from flyinglow.server.configuration.settings import Config, GuestListener, Listen, Server
from flyinglow.server.guests.key import GUEST_KEY, endpoint
from flyinglow.server.guests.limits import KEPT, Buckets


def test_a_bucket_runs_empty_and_fills_again() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0], burst=3, seconds=10.0)
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    assert buckets.empty("a")
    assert buckets.take("b"), "everybody has a bucket"
    now[0] = 9.0
    assert not buckets.take("a")
    now[0] = 11.0
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    now[0] = 10_000.0
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False], "no more than full"


def test_only_so_many_buckets_are_kept_and_the_longest_silent_goes_first() -> None:
    buckets = Buckets(lambda: 0.0, burst=1, seconds=10.0)
    buckets.take("first")
    for at in range(KEPT - 1):
        buckets.take(str(at))
    assert buckets.empty("first")
    buckets.take("one more")
    buckets.take("and another")
    assert len(buckets._kept) == KEPT
    assert buckets.empty("first")
    assert not buckets.empty("0")


@pytest.mark.parametrize(
    "url", ["10.1.0.1:8482", "ftp://10.1.0.1", "http://", "http://a b", "http://10.1.0.1/x?y", "http://u:p@host", "http://h:0"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused_with_its_line(url: str) -> None:
    with pytest.raises(InvalidError, match=r"x:2: listen.guest.base_url: .* is not an address such as"):
        parse(f'[listen.guest]\nbase_url = "{url}"\n', "x")


@pytest.mark.parametrize("url", ["http://10.1.0.1:8482", "https://cloud.example/", "http://[2001:db8::1]:8482"])
def test_an_address_is_taken(url: str) -> None:
    assert parse(f'[listen.guest]\nbase_url = "{url}"\n', "x").listen.guest.base_url == url


def test_guests_are_listened_to_beyond_loopback_with_tls_or_a_word_only() -> None:
    with pytest.raises(InvalidError, match="without TLS others on the guests' networks can read their tokens"):
        parse('[listen.guest]\naddress = "10.1.0.1"\n', "x")
    parse('[listen.guest]\naddress = "10.1.0.1"\ninsecure = true\n', "x")
    parse('[listen.guest]\naddress = "10.1.0.1"\ncertificate = "/c"\nprivate_key = "/k"\n', "x")


def config(state: Path, url: str = "http://10.1.0.1:8482/") -> Config:
    return Config(server=Server(state_dir=state), listen=Listen(guest=GuestListener(base_url=url)))


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    first = endpoint(config(tmp_path))
    assert first is not None
    assert first.url == "http://10.1.0.1:8482"
    assert (tmp_path / GUEST_KEY).stat().st_mode & 0o777 == 0o600
    again = endpoint(config(tmp_path))
    assert again == first
    assert "key" not in repr(first).replace("base", "")
    assert [path.name for path in tmp_path.iterdir()] == [GUEST_KEY]


def test_without_an_address_there_is_neither_endpoint_nor_key(tmp_path: Path) -> None:
    assert endpoint(config(tmp_path, "")) is None
    assert list(tmp_path.iterdir()) == []


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / GUEST_KEY).write_bytes(b"short")
    with pytest.raises(BrokenError, match=r"guest.key is no key of 32 bytes"):
        endpoint(config(tmp_path))


@pytest.mark.parametrize("mode", [0o604, 0o602])
def test_a_key_that_everyone_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    endpoint(config(tmp_path))
    (tmp_path / GUEST_KEY).chmod(mode)
    with pytest.raises(BrokenError, match=r"everyone can read or write .*guest.key; chmod 0600 it"):
        endpoint(config(tmp_path))

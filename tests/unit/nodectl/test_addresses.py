"""Which addresses of images are taken, and what of them people get to see."""

import pytest

from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.images import address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://a.b/c", "http://a.b/c"),
        ("https://me:secret@a.b:8443/c?key=secret", "https://a.b:8443/c"),
        ("scp://me@a.b:2222/srv/x.raw", "scp://a.b:2222/srv/x.raw"),
        ("http://[fd00::1]:80/c", "http://[fd00::1]/c"),
        ("file:///srv/x.raw", "file:///srv/x.raw"),
        ("http://a.b/%61", "http://a.b/a"),
        ("http://a.b", "http://a.b/"),
    ],
)
def test_an_address_is_shown_without_secrets(text: str, shown: str) -> None:
    assert str(address.read(text)) == shown
    assert address.redacted(text) == shown
    assert "secret" not in repr(address.read(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "/srv/x",
        "ftp://a/b",
        "http:///b",
        "http://-a/b",
        "http://a b/c",
        "http://a/b\n",
        "http://a/../b",
        "http://a/%2e%2e/b",
        "http://a/b#c",
        "http://a:99999/b",
        "http://a%00/b",
        "http://a/%00",
        "http://u%0d%0a:x@a/b",
        "file://host/x",
        "file:///x?y",
        "scp://u:p@a/b",
        "scp://-oProxyCommand=x/b",
        "scp://-x@a/b",
        'scp://a/b"c',
        "scp://a/b*",
        "scp://a/b%20c",
        "scp://a/b?c",
        "http://[::1/b",
        "https://h/\u00e9.img",
        "https://h/x?\u00e9",
        "http://a..b.example.org/x",
        f"http://{'a' * 64}.example.org/x",
        "store:x",
    ],
)
def test_what_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        address.read(text)


def test_what_cannot_be_read_is_not_shown() -> None:
    assert address.redacted("http://me:secret@a:99999/x") == "http:..."


def test_an_address_must_lie_below_a_listed_one() -> None:
    listed = ("http://a/images", "scp://me@b/srv/")
    for text in ("http://a/images", "http://a/images/x", "http://a:80/images/x", "scp://b/srv/x"):
        address.check_allowed(address.read(text), listed, "key", default=True)
    for text in ("http://a/images-2/x", "https://a/images/x", "http://a:81/images/x", "http://c/images/x"):
        with pytest.raises(DeniedError, match="configuration key key"):
            address.check_allowed(address.read(text), listed, "key", default=True)
    address.check_allowed(address.read("http://c/x"), (), "key", default=True)
    with pytest.raises(DeniedError):
        address.check_allowed(address.read("http://c/x"), (), "key", default=False)

"""What the command reads and writes as words: escapes, durations, sizes, request files, preferences."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli import preferences, request_file, showing
from flyinglow.cli.durations import megabytes, seconds, words
from flyinglow.cli.plain import plain, plain_page
from flyinglow.client import Disk, File, Nic, Notification, Part
from flyinglow.nodectl.errors import InvalidError

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wn-1", "wn-1"),
        ("größer 東京", "größer 東京"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\x9b31m", "a\\x9b31m"),
        ("a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\u202edesrever", "\\u202edesrever"),
        ("\u2028\u2066", "\\u2028\\u2066"),
    ],
)
def test_nothing_that_steers_a_terminal_gets_through(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_pages_keep_their_lines() -> None:
    assert plain_page("a\r\n\tb\x1b]0;title\x07\n") == "a\n\tb\\x1b]0;title\\x07\n"


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("1D2h3m4s", 93784)]
)
def test_durations(text: str, value: int) -> None:
    assert seconds(text) == value
    assert seconds(words(value)) == value


@pytest.mark.parametrize("text", ["", "h", "-5m", "1.5h", "5 minutes", "1m1h", "\u0661\u0665"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_sizes() -> None:
    assert [megabytes(text) for text in ("96", "512M", "2G", "2 GiB", "0")] == [96, 512, 2048, 2048, 0]
    for text in ("", "2T", "-1", "1.5G"):
        with pytest.raises(ValueError, match="size"):
            megabytes(text)


TOML = """
name = "osg"
duration = "1h"
[[parts]]
name = "ce"
memory_mb = "1G"
disks = [{image = "guest"}, {blank_mb = 10, mount = "/s"}]
nics = [{network = "public"}]
provides = ["x"]
user_data = "hi"
files = [{path = "/a", content = "b"}]
"""


def test_a_request_file(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TOML)
    part = Part(
        name="ce",
        memory_mb=1024,
        disks=(Disk(image="guest"), Disk(blank_mb=10, mount="/s")),
        nics=(Nic(network="public"),),
        provides=("x",),
        user_data=b"hi",
        files=(File(path="/a", content=b"b"),),
    )
    assert request_file.read(path) == {"name": "osg", "duration": 3600, "parts": [part]}


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({"nmae": "x"}, "no key 'nmae'"),
        ({"parts": [{"name": "a", "memory_mb": 1, "cpu": 1}]}, r"parts\[0\].*no key 'cpu'"),
        ({"parts": [{"name": "a"}]}, r"parts\[0\].*memory_mb"),
        ({"parts": [{"name": "a", "memory_mb": 1, "disks": [{"immage": "x"}]}]}, r"parts\[0\].disks.*immage"),
        ({"parts": {"name": "a"}}, "parts must be a list of tables"),
        ({"parts": [{"name": "a", "memory_mb": 1, "provides": "x"}]}, "provides must be a list"),
        ({"parts": [{"name": "a", "memory_mb": True}]}, "memory_mb must be a text"),
        ({"duration": "soon"}, "duration.*soon"),
        ([], "a table"),
    ],
)
def test_faulty_request_files_are_refused_by_place(tmp_path: Path, request_: object, place: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(request_))
    with pytest.raises(InvalidError, match=place):
        request_file.read(path)


def test_the_service_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FLYINGLOW_SERVICE", raising=False)
    assert preferences.load().service == "http://127.0.0.1:8480"
    (tmp_path / "flyinglow").mkdir()
    (tmp_path / "flyinglow" / "client.toml").write_text('service = "http://file"\ntimeout = 5\n')
    assert preferences.load() == preferences.Preferences("http://file", 5.0)
    monkeypatch.setenv("FLYINGLOW_SERVICE", "http://environment")
    assert preferences.load().service == "http://environment"
    assert preferences.load("http://option").service == "http://option"


@pytest.mark.parametrize("text", ["servce = 'x'", "service = 5", "timeout = true", "not toml"])
def test_a_faulty_client_toml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "flyinglow").mkdir()
    (tmp_path / "flyinglow" / "client.toml").write_text(text)
    with pytest.raises(InvalidError, match=r"client\.toml"):
        preferences.load()


@pytest.mark.parametrize(
    ("news", "said"),
    [
        ({"topic": "warning", "seconds": 90, "ends_at": NOON}, "ends in 1m30s, at 2030-01-01"),
        ({"topic": "warning", "seconds": 20, "ends_at": NOON, "reason": "pre-empted"}, ": pre-empted"),
        ({"topic": "schedule", "starts_at": NOON, "reason": "Priority"}, "waits, expected to start 2030-01-01"),
        ({"topic": "schedule", "reason": "Priority"}, "waits, expected to start at a time nobody knows: Priority"),
        ({"topic": "schedule", "ends_at": NOON, "reason": "moved"}, "lease ends 2030-01-01"),
    ],
)
def test_an_event_in_words(news: dict[str, Any], said: str) -> None:
    line = showing.event(Notification(kind="group", name="wn", sequence=3, at=NOON, received_at=NOON, **news))
    assert said in line
    assert news.get("reason", "") in line

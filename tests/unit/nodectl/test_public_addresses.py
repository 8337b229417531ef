"""What a stranger's URI names is connected to at public addresses only, whatever name or number it goes by."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import DeniedError, TransientError
from flyinglow.nodectl.images import address, publicly
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.images.http import Web
from flyinglow.nodectl.images.meter import Meter
from flyinglow.nodectl.images.sftp import Ssh

INSIDE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::",
    "64:ff9b::a01:203", "fec0::1", "feff::1",
]  # fmt: skip


@pytest.mark.parametrize("number", INSIDE)
def test_addresses_of_no_ones_or_the_sites_own_are_not_public(number: str) -> None:
    assert not publicly.is_public(number)


@pytest.mark.parametrize("number", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_those_of_the_internet_are(number: str) -> None:
    assert publicly.is_public(number)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_nothing_is_said_to_what_is_not_public(host: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        there = address.read(f"http://{host}:{port}/secret")
        with pytest.raises(DeniedError, match="no public address"):
            Web(there, public=True).fetch(tmp_path / "x", Meter("x", 1 << 20, float))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_site_that_trusts_the_host_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            one, _ = server.accept()
            with one:
                one.recv(4096)
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        there = address.read(f"http://127.0.0.1:{server.getsockname()[1]}/x")
        Web(there).fetch(tmp_path / "x", Meter("x", 1 << 20, float))
        thread.join(30)
    assert (tmp_path / "x").read_bytes() == b"ok"


def test_one_number_inside_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [(0, 0, 0, "", (number, 80)) for number in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(DeniedError, match=r"10\.0\.0\.1"):
        publicly.address_of("rebound.example", 80)


def test_a_name_of_nobody_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransientError, match="not to be found"):
        publicly.address_of("nobody.example", 80)


@pytest.mark.parametrize("host", ["a..b.example.org", "a" * 64 + ".example.org"])
def test_a_name_that_cannot_be_asked_for_is_not_found(host: str) -> None:
    with pytest.raises(TransientError, match="not to be found"):
        publicly.address_of(host, 80)


def test_a_host_reached_by_ssh_is_looked_up_when_it_is_fetched_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An image that is in the cache needs no name server."""
    asked: list[str] = []

    def unknown(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    images = Images(config.build({"state": str(tmp_path)}))
    source = images._source(address.read("scp://a.example/x"), public=True)
    assert isinstance(source, Ssh)
    assert asked == []
    with pytest.raises(TransientError, match="not to be found"):
        source.fetch(tmp_path / "x", Meter("x", 1 << 20, float))
    assert asked == ["a.example"]

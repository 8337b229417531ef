"""The control socket's protocol, against a server that says exactly what the test says."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError, TransientError
from flyinglow.nodectl.hypervisor.qmp import Qmp

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
Serve = Callable[..., tuple[Path, list[Any]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    threads = []
    listener = socket.socket(socket.AF_UNIX)

    def start(*answers: bytes | dict[str, Any]) -> tuple[Path, list[Any]]:
        path, asked = tmp_path / "q", []
        listener.bind(str(path))
        listener.listen(1)

        def run() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(json.dumps(GREETING).encode() + b"\r\n")
                for answer in answers:
                    asked.append(json.loads(lines.readline()))
                    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\r\n"
                    for at in range(0, len(data), 7):  # in pieces, as a network would
                        connection.sendall(data[at : at + 7])

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return path, asked

    yield start
    for thread in threads:
        thread.join(120)
    listener.close()


def test_a_conversation(serve: Serve) -> None:
    event = json.dumps({"event": "STOP", "data": {}}).encode() + b"\r\n"
    answer = event + json.dumps({"return": {"status": "running"}}).encode() + b"\r\n"
    path, asked = serve({"return": {}}, answer, {"return": 7})
    with Qmp(path) as qmp:
        assert qmp.ask("query-status") == {"status": "running"}
        assert qmp.ask("device_del", id="x") == 7
    assert asked[1:] == [{"execute": "query-status"}, {"execute": "device_del", "arguments": {"id": "x"}}]


def test_a_refusal_carries_the_reason(serve: Serve) -> None:
    path, _ = serve({"return": {}}, {"error": {"class": "GenericError", "desc": "no way"}})
    with Qmp(path) as qmp, pytest.raises(BrokenError, match="no way"):
        qmp.ask("cont")


@pytest.mark.parametrize("rubbish", [b"not json\n", b"[1]\n"])
def test_rubbish_is_broken(serve: Serve, rubbish: bytes) -> None:
    path, _ = serve({"return": {}}, rubbish)
    with Qmp(path) as qmp, pytest.raises(BrokenError):
        qmp.ask("cont")


def test_an_end_in_the_middle_is_transient(serve: Serve) -> None:
    path, _ = serve({"return": {}}, b'{"ret')
    with Qmp(path) as qmp, pytest.raises(TransientError, match="ended the conversation"):
        qmp.ask("cont")


def test_silence_has_an_end(serve: Serve) -> None:
    path, _ = serve({"return": {}})
    with Qmp(path, seconds=0.05) as qmp, pytest.raises(TransientError):
        qmp.ask("cont")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be reached"), Qmp(tmp_path / "none"):
        pass
